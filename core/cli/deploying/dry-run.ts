// `windjammer deploy --dry-run`: bundles a model and runs it here, in a server of its own that is gone afterwards.
import type { JsonValue } from "../../../containers/protocol.ts";
import { madeUpInputs } from "../../deploy/made-up-input.ts";
import type { Runtime } from "../../runtimes/runtime.ts";
import { fields, type Output } from "../output.ts";
import { durationText } from "../units.ts";
import { alreadyMade, bundleModel, type FoundModel } from "./model.ts";
import { Stages } from "./stages.ts";

interface DryRunOptions {
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly runtime: "process" | "docker" | undefined;
  readonly verbose: true | undefined;
}

const MAX_SHOWN = 300;

/** @throws what a deployment throws, and the model's error on its first example or made-up input */
export async function dryRun(model: FoundModel, options: DryRunOptions): Promise<void> {
  const { output, signal } = options;
  const { kind } = model.recognized;
  const runtime = options.runtime ?? (kind === "dockerfile" || kind === "image" ? "docker" : "process");
  using stages = new Stages(output, options);
  try {
    await using bundle = await bundleModel(model, stages.bundling);
    const { windjammer } = await import("../../windjammer.ts");
    await using wj = await windjammer({ port: 0, adminPort: 0, runtime: await runtimeOf(runtime) });
    // Queries wait as long as they take, so that a failure shows itself and no default output does.
    const { latencyObjectiveMs: _, defaultOutput: __, application: ___, ...request } = model.checked.request;
    const version = model.version ?? "1";
    const tried = await wj.deploy(alreadyMade(bundle, model), {
      ...model.checked.own,
      ...request,
      version,
      onEvent: stages.event,
      signal,
    });
    stages.end();
    const manifest = (await wj.versions(model.name))[0]?.manifest ?? bundle.manifest;
    const input: JsonValue = request.examples?.[0]?.input ?? madeUpInputs(manifest)[0]?.value ?? null;
    const startedAt = performance.now();
    const predicted = await predictPlainly(tried.url, input);
    const predictMs = performance.now() - startedAt;
    const { packages, inputType } = manifest;
    const found = { kind, deployer: manifest.deployer, inputType, packages, bundle: bundle.hash };
    const result = { isDryRun: true, model: model.name, ...found, input, ...predicted, predictMs };
    const { reports, warnings } = stages;
    output.result({ ...result, stages: reports, warnings }, () =>
      [
        `${model.name} would serve; nothing was deployed`,
        fields([
          ["input", shown(input)],
          [
            "error" in predicted ? "error" : "output",
            shown("error" in predicted ? predicted.message : predicted.output),
          ],
          ["took", durationText(predictMs)],
          [
            "packages",
            Object.entries(packages)
              .map(([name, at]) => `${name} ${at}`)
              .join(", ") || "none",
          ],
          ["bundle", bundle.hash.slice(0, 12)],
        ]),
        "",
      ].join("\n"),
    );
  } catch (error) {
    stages.fail();
    throw error;
  }
}

async function runtimeOf(name: "process" | "docker"): Promise<Runtime> {
  if (name === "docker") return (await import("../../runtimes/docker/index.ts")).docker();
  return (await import("../../runtimes/process/index.ts")).processRuntime();
}

type Predicted = { readonly output: JsonValue } | { readonly error: string; readonly message: string };

/** As any caller sees it: a made-up input may be one that the model refuses. */
async function predictPlainly(url: string, input: JsonValue): Promise<Predicted> {
  const reply = await fetch(url, { method: "POST", body: JSON.stringify({ input }) });
  const { output, error, message } = (await reply.json()) as Record<string, JsonValue>;
  return error === undefined
    ? { output: output ?? null }
    : { error: String(error), message: String(message) };
}

function shown(value: JsonValue): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
