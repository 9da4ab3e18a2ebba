// Tries a function out as it would be deployed: its bundle in a fresh model container, which is gone afterwards.
import {
  InvalidInputError,
  ModelError,
  windjammer,
  type BundleReport,
  type DeploymentStep,
  type Deployer,
  type Windjammer,
} from "../../core/index.ts";
import type { InputOf, InputTypeName } from "../input-types.ts";
import { functionDeployer } from "./deployer.ts";
import type {
  FunctionOptions,
  ModuleFunctionOptions,
  SchemaListOptions,
  SchemaSingleOptions,
  TypedListOptions,
  TypedSingleOptions,
} from "./options.ts";

/** What a dry run found. */
export interface DryRun<Output> {
  /** One for each input, in order. */
  readonly outputs: readonly Output[];
  readonly timings: {
    /** Capturing the function and writing its bundle, ms. */
    readonly bundleMs: number;
    /** From the start of the model container to ready: its process, loading, `setup`; ms. */
    readonly loadMs: number;
    /** All inputs, ms. */
    readonly predictMs: number;
  };
  /** Packages by exact version. */
  readonly packages: Readonly<Record<string, string>>;
  /** What the function and `setup` wrote to stdout and stderr. */
  readonly log: readonly string[];
}

/**
 * Bundles a function, loads it in a fresh process and predicts, without deploying anything. It takes the options of
 * `deployFunction` and holds inputs and outputs to the same schemas.
 *
 * @example
 * const { outputs, timings } = await dryRun({ inputType: "doubles", fn: (xs) => xs.map((x) => x.length) }, [[1, 2]]);
 *
 * @throws ModelError for the first input that fails, whose `details.log` has the stack; InvalidInputError; and what
 * `deployFunction` throws
 */
export async function dryRun<Input, Output, Resources = undefined>(
  options: SchemaSingleOptions<Input, Output, Resources>,
  inputs: readonly Input[],
): Promise<DryRun<Output>>;
export async function dryRun<Input, Output, Resources = undefined>(
  options: SchemaListOptions<Input, Output, Resources>,
  inputs: readonly Input[],
): Promise<DryRun<Output>>;
export async function dryRun<const T extends InputTypeName, Output, Resources = undefined>(
  options: TypedSingleOptions<T, Output, Resources>,
  inputs: readonly InputOf<T>[],
): Promise<DryRun<Output>>;
export async function dryRun<const T extends InputTypeName, Output, Resources = undefined>(
  options: TypedListOptions<T, Output, Resources>,
  inputs: readonly InputOf<T>[],
): Promise<DryRun<Output>>;
export async function dryRun<const T extends InputTypeName, Output = unknown>(
  options: ModuleFunctionOptions<T>,
  inputs: readonly InputOf<T>[],
): Promise<DryRun<Output>>;
export async function dryRun(options: FunctionOptions, inputs: readonly unknown[]): Promise<DryRun<unknown>> {
  await using wj = await windjammer({ port: 0, adminPort: 0 });
  const clock = new Clock();
  let packages: Readonly<Record<string, string>> = {};
  const deployer: Deployer<FunctionOptions> = {
    ...functionDeployer,
    bundle: async (own: FunctionOptions, folder: string, report: BundleReport) => {
      const startedAt = performance.now();
      const made = await functionDeployer.bundle(own, folder, report);
      clock.bundleMs = performance.now() - startedAt;
      ({ packages } = made);
      return made;
    },
  };
  const tried = await wj.deploy<FunctionOptions, unknown, unknown>(deployer, {
    ...options,
    name: NAME,
    version: "1",
    onEvent: ({ step }) => clock.note(step),
  });
  const startedAt = performance.now();
  const answers = await tried.predictDetailed(inputs);
  const predictMs = performance.now() - startedAt;
  const failed = answers.findIndex((answer) => "error" in answer);
  const log = await logOf(wj, failed >= 0);
  const outputs = answers.map((answer, index) => outputOf(answer, index, log));
  return { outputs, timings: { bundleMs: clock.bundleMs, loadMs: clock.loadMs, predictMs }, packages, log };
}

const NAME = "dry-run";

/** When the steps of the deployment came. */
class Clock {
  bundleMs = 0;
  readonly #at = new Map<DeploymentStep, number>();

  note(step: DeploymentStep): void {
    if (!this.#at.has(step)) this.#at.set(step, performance.now());
  }

  get loadMs(): number {
    return (this.#at.get("ready") ?? 0) - (this.#at.get("start") ?? 0);
  }
}

function outputOf(
  answer: { readonly output: unknown } | { readonly error: Error },
  index: number,
  log: readonly string[],
): unknown {
  if (!("error" in answer)) return answer.output;
  if (answer.error instanceof InvalidInputError) throw answer.error;
  throw new ModelError(`inputs[${index}]: ${answer.error.message}`, {
    cause: answer.error,
    details: { input: index, log: [...log] },
  });
}

const LOG_LINES = 200;
const LOG_TRIES = 20;
const LOG_PAUSE_MS = 25;

/** The stack of an error may still be on its way when the answer is here. */
async function logOf(wj: Windjammer, isAwaited: boolean): Promise<readonly string[]> {
  const [replica] = await wj.replicas();
  if (replica === undefined) return [];
  for (let tries = isAwaited ? LOG_TRIES : 1; ; tries -= 1) {
    const lines = await Array.fromAsync(wj.logs(replica.id, { tail: LOG_LINES }), ({ text }) => text);
    if (tries <= 1 || lines.some((line) => /^\s+at /.test(line))) return lines;
    await new Promise((resolve) => {
      setTimeout(resolve, LOG_PAUSE_MS);
    });
  }
}
