// Commands that change what is deployed: scale, link, unlink and delete.
import { Argument, type Command } from "commander";
import { InvalidOptionsError } from "../errors.ts";
import { Output } from "./output.ts";
import { currentVersion } from "./served.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { durationText } from "./units.ts";
import { parseWhole } from "./values.ts";

const KINDS = ["app", "model", "version"] as const;
type Kind = (typeof KINDS)[number];

export function scaleCommand(): Command {
  return serverCommand("scale", "change the number of replicas; returns when they are ready")
    .argument("<model>", "name of the model")
    .argument("<replicas>", "how many are to run", parseWhole)
    .option("--version <version>", "this version in place of the current one")
    .action(async (model: string, replicas: number, flags: ServerFlags & { readonly version?: string }) => {
      const output = new Output(flags);
      await withServer(flags, async (wj) => {
        const begun = performance.now();
        output.progress(`waiting until ${replicas} replicas of ${model} are ready`);
        await wj.scale(model, replicas, flags.version);
        const version = flags.version ?? (await currentVersion(wj, model));
        const tookMs = Math.round(performance.now() - begun);
        output.result(
          { model, version, replicas, tookMs },
          () =>
            `${model} ${version} runs ${replicas} replica${replicas === 1 ? "" : "s"} (${durationText(tookMs)})`,
        );
      });
    });
}

export function linkCommand(): Command {
  return serverCommand("link", "let an application be answered by a model, in place of the one before")
    .argument("<application>", "name of the application")
    .argument("<model>", "name of the model")
    .action(async (application: string, model: string, flags: ServerFlags) => {
      const output = new Output(flags);
      await withServer(flags, (wj) => wj.link(application, model));
      output.result({ application, model }, () => `${application} is answered by ${model}`);
    });
}

export function unlinkCommand(): Command {
  return serverCommand("unlink", "take the link of an application away; it then gives its default output")
    .argument("<application>", "name of the application")
    .argument("[model]", "name of the model (default: the one it is linked to)")
    .action(async (application: string, model: string | undefined, flags: ServerFlags) => {
      const output = new Output(flags);
      const unlinked = await withServer(flags, async (wj) => {
        // For its error, which knows the applications there are.
        await wj.application(application);
        const linked = (await wj.links()).find((link) => link.application === application)?.model;
        const chosen = model ?? linked;
        if (chosen !== undefined) await wj.unlink(application, chosen);
        return chosen;
      });
      output.result({ application, model: unlinked ?? null }, () =>
        unlinked === undefined
          ? `${application} is linked to no model`
          : `${application} is not answered by ${unlinked} any more`,
      );
    });
}

export function deleteCommand(): Command {
  return serverCommand("delete", "remove an application, a model with its versions, or one version")
    .addArgument(new Argument("<kind>", "what it is").choices(KINDS))
    .argument("<name>", "name of the application or of the model")
    .argument("[version]", "with version: which one")
    .action(async (...given: [kind: Kind, name: string, version: string | undefined, flags: ServerFlags]) => {
      const [kind, name, version, flags] = given;
      const output = new Output(flags);
      if ((kind === "version") !== (version !== undefined)) {
        throw new InvalidOptionsError(
          kind === "version"
            ? `which version of ${name}? windjammer versions ${name} lists them`
            : `with ${kind} no version is named; to remove one: windjammer delete version ${name} ${version}`,
        );
      }
      await withServer(flags, async (wj) => {
        if (kind === "app") await wj.deleteApplication(name);
        else if (version === undefined) await wj.deleteModel(name);
        else await wj.deleteVersion(name, version);
      });
      const what = kind === "app" ? "application" : kind;
      output.result({ kind, name, ...(version === undefined ? {} : { version }) }, () =>
        [`removed ${what}`, name, ...(version === undefined ? [] : [version])].join(" "),
      );
    });
}
