// Whether a started container serves: waits until it is ready, and holds its metadata against the contract.
import { setTimeout as sleep } from "node:timers/promises";
import {
  isForeign,
  modelAtServer,
  PATHS,
  type Manifest,
  type TensorSpec,
} from "../../containers/protocol.ts";
import { ContractMismatchError, ReplicaStartError } from "../errors.ts";
import type { RunningReplica } from "../runtimes/runtime.ts";
import type { ReplicaExit } from "../types.ts";
import { checkForeignContract, foreignReadiness, type Readiness } from "./foreign.ts";
import type { ReplicaTransport } from "./transport.ts";

/** Probes come this often at first, then less and less. */
const FIRST_PROBE_MS = 5;
const SLOWEST_PROBE_MS = 100;
const PROBE_TIMEOUT_MS = 1_000;
const LOG_LINES = 20;

export interface ReadinessOptions {
  readonly manifest: Pick<Manifest, "contract" | "container">;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the replica answers `ready` and declares the contract, with its metadata as JSON text.
 * @throws ReplicaStartError when it ends first or takes too long, ContractMismatchError
 */
export async function becomeReady(
  running: RunningReplica,
  transport: ReplicaTransport,
  options: ReadinessOptions,
): Promise<string> {
  const { manifest } = options;
  const deadline = Date.now() + options.timeoutMs;
  let exit: ReplicaExit | undefined;
  const exited = running.exited.then((value) => (exit = value));
  for (let pause = FIRST_PROBE_MS; ; pause = Math.min(SLOWEST_PROBE_MS, pause * 1.5)) {
    const {
      isReady: isUp,
      why = "",
      isFinal,
      others,
    } = await readinessOf(transport, manifest, running.model);
    const metadata = isUp ? await metadataOf(transport, modelPath(manifest, running.model)) : undefined;
    if (metadata !== undefined) {
      compareContract(running, manifest, metadata);
      return metadata.text;
    }
    options.signal.throwIfAborted();
    if (isFinal === true)
      throw startError(running, `cannot serve: ${why}`, others === undefined ? {} : { models: others });
    if (exit === undefined && Date.now() + pause < deadline) await Promise.race([exited, sleep(pause)]);
    if (exit !== undefined) throw startError(running, `${exit.message} before it was ready`);
    if (Date.now() + pause >= deadline)
      throw startError(
        running,
        `was not ready within ${options.timeoutMs} ms${why === "" ? "" : ` (${why})`}`,
      );
  }
}

/**
 * `becomeReady`, also for a server that does not know our name for the model and has one only: that is taken then.
 * @returns the server's name for the model, if it is another one than ours
 */
export async function becomeReadyByAnyName(
  running: RunningReplica,
  transport: ReplicaTransport,
  options: ReadinessOptions,
): Promise<string | undefined> {
  const { container } = options.manifest;
  const given = isForeign(container) ? container.modelName : undefined;
  try {
    await becomeReady(running, transport, options);
    return given;
  } catch (error) {
    const [only, ...more] = otherModelsIn(error);
    if (!isForeign(container) || given !== undefined || only === undefined || more.length > 0) throw error;
    const manifest = { ...options.manifest, container: { ...container, modelName: only } };
    await becomeReady(running, transport, { ...options, manifest });
    return only;
  }
}

function otherModelsIn(error: unknown): readonly string[] {
  const models = error instanceof ReplicaStartError ? error.details["models"] : undefined;
  return Array.isArray(models) ? (models as readonly string[]) : [];
}

/** @param model our name for it */
export async function isReady(
  transport: ReplicaTransport,
  manifest: Pick<Manifest, "container">,
  model: string,
): Promise<boolean> {
  return (await readinessOf(transport, manifest, model)).isReady;
}

async function readinessOf(
  transport: ReplicaTransport,
  { container }: Pick<Manifest, "container">,
  model: string,
): Promise<Readiness> {
  if (isForeign(container)) return foreignReadiness(transport, modelAtServer(container, model));
  try {
    return { isReady: (await transport.get(PATHS.ready, PROBE_TIMEOUT_MS)).statusCode === 200 };
  } catch {
    return { isReady: false };
  }
}

/** Path of the model on its server. */
function modelPath({ container }: Pick<Manifest, "container">, model: string): string {
  const { name, version } = modelAtServer(container, model);
  return PATHS.model(name, version);
}

interface Metadata {
  readonly statusCode: number;
  readonly text: string;
}

/** Undefined when no reply came in time: on a busy machine the next one may. */
async function metadataOf(transport: ReplicaTransport, path: string): Promise<Metadata | undefined> {
  try {
    return await transport.get(path, PROBE_TIMEOUT_MS);
  } catch {
    return undefined;
  }
}

function startError(
  running: RunningReplica,
  what: string,
  more: Readonly<Record<string, unknown>> = {},
): ReplicaStartError {
  const logTail = running.tail(LOG_LINES).map((line) => line.text);
  const last = logTail.at(-1);
  return new ReplicaStartError(
    `replica ${running.id} of model ${running.model} version ${running.version} ${what}` +
      (last === undefined ? ("url" in running.address ? "" : "; it wrote no log") : `: ${last}`),
    { details: { replica: running.id, model: running.model, version: running.version, logTail, ...more } },
  );
}

function compareContract(
  running: RunningReplica,
  { contract, container }: ReadinessOptions["manifest"],
  reply: Metadata,
): void {
  const where = `model ${running.model} version ${running.version}`;
  const details = { replica: running.id, logTail: running.tail(LOG_LINES).map((line) => line.text) };
  if (isForeign(container)) {
    const message = checkForeignContract(reply, contract);
    if (message === undefined) return;
    throw new ContractMismatchError(`the container of ${where} ${message}`, { details });
  }
  let declared: { inputs?: unknown; outputs?: unknown };
  try {
    if (reply.statusCode !== 200) throw new Error(`status ${reply.statusCode}: ${reply.text.slice(0, 200)}`);
    declared = JSON.parse(reply.text) as typeof declared;
  } catch (error) {
    const message = `the container of ${where} gave no model metadata: ${(error as Error).message}`;
    throw new ContractMismatchError(message, { cause: error, details });
  }
  for (const side of ["inputs", "outputs"] as const) {
    const expected = contract[side].map((spec) => describeTensor(spec, contract.isBatched)).toSorted();
    const got = (Array.isArray(declared[side]) ? declared[side] : []).map(describeDeclared).toSorted();
    if (expected.join() === got.join()) continue;
    const message = `the container of ${where} declares other ${side} than its contract: expected ${expected.join(", ")}; got ${got.join(", ") || "none"}`;
    throw new ContractMismatchError(message, { details: { ...details, expected, got } });
  }
}

function describeTensor(spec: TensorSpec, isBatched: boolean): string {
  return `${spec.name} ${spec.datatype} [${(isBatched ? [-1, ...spec.shape] : spec.shape).join(",")}]`;
}

function describeDeclared(value: unknown): string {
  const { name, datatype, shape } = (value ?? {}) as { name?: unknown; datatype?: unknown; shape?: unknown };
  return `${String(name)} ${String(datatype)} [${Array.isArray(shape) ? shape.join(",") : ""}]`;
}
