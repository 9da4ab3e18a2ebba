// `windjammer rollback`: serves an earlier version again, or any other that is deployed.
import type { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import { VersionNotFoundError } from "../errors.ts";
import type { Deployment } from "../types.ts";
import { Output, paint } from "./output.ts";
import { currentVersion } from "./served.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";

export function rollbackCommand(): Command {
  return serverCommand("rollback", "serve the version that served before, or the one that is named")
    .argument("<model>", "name of the model")
    .argument("[version]", "a version that is deployed (default: the one that served before the current one)")
    .action(async (model: string, version: string | undefined, flags: ServerFlags) => {
      const output = new Output(flags);
      await withServer(flags, async (wj) => {
        const versions = await wj.versions(model);
        const from = await currentVersion(wj, model);
        const known = versions.map((each) => each.version);
        const to = version ?? formerVersion(await wj.deployments(), { model, from, known });
        const deployment = await roll(wj, { model, to, output });
        output.result({ ...deployment, former: from }, () =>
          deployment.result === "unchanged"
            ? `${model} serves version ${to} already`
            : `${model} serves version ${paint("bold", to)}, in place of ${from}`,
        );
      });
    });
}

interface Roll {
  readonly model: string;
  readonly to: string;
  readonly output: Output;
}

async function roll(wj: Windjammer, { model, to, output }: Roll): Promise<Deployment> {
  try {
    return await wj.setVersion(model, to, {
      onEvent: ({ step, message }) => output.progress(`${step}: ${message}`),
    });
  } finally {
    output.done();
  }
}

/** @throws VersionNotFoundError */
function formerVersion(
  deployments: readonly Deployment[],
  {
    model,
    from,
    known,
  }: { readonly model: string; readonly from: string; readonly known: readonly string[] },
): string {
  const served = deployments
    .filter((each) => each.model === model && each.result === "deployed")
    .map(({ version }) => version);
  // Deployments that are long past are not kept; versions are listed newest first.
  // One that was left ready and never switched to has not served.
  const aside = new Set(
    deployments
      .filter((each) => each.model === model && each.result === "ready")
      .map(({ version }) => version),
  );
  const older = known.slice(known.indexOf(from) + 1).filter((version) => !aside.has(version));
  const former = [...served, ...older].find((version) => version !== from && known.includes(version));
  if (former !== undefined) return former;
  const others = known.filter((version) => version !== from);
  throw new VersionNotFoundError(
    others.length === 0
      ? `model "${model}" has no version but ${from}; deploy another first`
      : `no version of model "${model}" served before ${from}; name one: ${others.join(", ")}`,
    { details: { model, version: from } },
  );
}
