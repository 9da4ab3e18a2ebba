// `windjammer deploy --dry-run`: bundles a model and runs it here, in a server of its own that is gone afterwards.
import type { JsonValue, Manifest } from "../../../containers/protocol.ts";
import type { MadeBundle } from "../../client/bundle.ts";
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

/** What was found out. */
interface Tried {
  readonly manifest: Manifest;
  readonly bundle: string;
  readonly input: JsonValue;
  readonly predicted: Predicted;
  readonly predictMs: number;
}

/** @throws what a deployment throws */
export async function dryRun(model: FoundModel, options: DryRunOptions): Promise<void> {
  using stages = new Stages(options.output, options);
  try {
    await using bundle = await bundleModel(model, stages.bundling);
    const tried = await tryOut(model, bundle, { ...options, stages });
    const { manifest, predicted, ...rest } = tried;
    const { deployer, inputType, packages } = manifest;
    const { reports, warnings } = stages;
    const found = { isDryRun: true, model: model.name, kind: model.recognized.kind, deployer, inputType };
    options.output.result({ ...found, packages, ...rest, ...predicted, stages: reports, warnings }, () =>
      summary(model, tried),
    );
  } catch (error) {
    stages.fail();
    throw error;
  }
}

async function tryOut(
  model: FoundModel,
  bundle: MadeBundle,
  { runtime, signal, stages }: DryRunOptions & { readonly stages: Stages },
): Promise<Tried> {
  const { windjammer } = await import("../../windjammer.ts");
  await using wj = await windjammer({ port: 0, adminPort: 0, runtime: await runtimeFor(model, runtime) });
  const { own, request } = model.checked;
  const { examples } = request;
  const tried = await wj.deploy(alreadyMade(bundle, model), {
    ...own,
    ...request,
    application: undefined,
    // The model's own answer is wanted, however long it takes, and its error in place of a default.
    latencyObjectiveMs: undefined,
    defaultOutput: undefined,
    onEvent: stages.event,
    signal,
  });
  stages.end();
  const manifest = (await wj.versions(model.name))[0]?.manifest ?? bundle.manifest;
  const input = examples?.[0]?.input ?? madeUpInputs(manifest)[0]?.value ?? null;
  const startedAt = performance.now();
  const predicted = await predictPlainly(tried.url, input);
  return { manifest, bundle: bundle.hash, input, predicted, predictMs: performance.now() - startedAt };
}

function summary({ name }: FoundModel, { manifest, bundle, input, predicted, predictMs }: Tried): string {
  const packages = Object.entries(manifest.packages).map(([each, version]) => `${each} ${version}`);
  const answer: readonly [string, string] =
    "error" in predicted ? ["error", predicted.message] : ["output", shown(predicted.output)];
  const lines = fields([
    ["input", shown(input)],
    answer,
    ["took", durationText(predictMs)],
    ["packages", packages.join(", ") || "none"],
    ["bundle", bundle.slice(0, 12)],
  ]);
  return `${name} would serve; nothing was deployed\n${lines}`;
}

async function runtimeFor(
  { recognized: { kind } }: FoundModel,
  wanted: DryRunOptions["runtime"],
): Promise<Runtime> {
  const isImage = kind === "dockerfile" || kind === "image";
  if ((wanted ?? (isImage ? "docker" : "process")) === "docker")
    return (await import("../../runtimes/docker/index.ts")).docker();
  return (await import("../../runtimes/process/index.ts")).processRuntime();
}

interface Reply {
  readonly output: JsonValue;
  readonly error: string;
  readonly message: string;
}

type Predicted = { readonly output: JsonValue } | { readonly error: string; readonly message: string };

/** As any caller sees it: a made-up input may be one that the model refuses. */
async function predictPlainly(url: string, input: JsonValue): Promise<Predicted> {
  const reply = await fetch(url, { method: "POST", body: JSON.stringify({ input }) });
  const { output, error, message } = (await reply.json()) as Partial<Reply>;
  return error === undefined ? { output: output ?? null } : { error, message: message ?? "" };
}

function shown(value: JsonValue): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
