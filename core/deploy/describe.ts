// The first start of a model container that is not ours: what it speaks, and the contract where the bundle has none.
import {
  isForeign,
  modelAtServer,
  type Contract,
  type ForeignSource,
  type Manifest,
} from "../../containers/protocol.ts";
import { ContractMismatchError, UnsupportedModelError } from "../errors.ts";
import type { Serving } from "../query/serving.ts";
import { describeServer, type Description } from "../replicas/foreign.ts";
import { becomeReadyByAnyName } from "../replicas/readiness.ts";
import { replicaSource } from "../replicas/source.ts";
import { transportTo } from "../replicas/transport.ts";
import type { Runtime, RunningReplica } from "../runtimes/runtime.ts";
import { hasContract } from "./deployer.ts";
import { manifestSchema } from "./manifest-schema.ts";
import type { Plan } from "./plan.ts";

/** What JSON cannot hold. */
const BINARY_ONLY: ReadonlySet<string> = new Set(["FP16", "BF16"]);
const LOG_LINES = 20;

export interface DescribeParts {
  readonly runtime: Runtime;
  readonly serving: Pick<Serving, "nextId">;
  readonly signal: AbortSignal;
}

/** A version's first replica, which runs, and the manifest that the version serves by. */
export interface DescribedVersion {
  readonly running: RunningReplica;
  readonly manifest: Manifest;
  readonly notes: readonly string[];
}

/** Whether all is known that serving needs: it is, of our own servers, and of those asked before. */
export function isDescribed({ container, contract }: Manifest): boolean {
  return !isForeign(container) || (container.tensors !== undefined && hasContract({ contract }));
}

/**
 * Starts the first replica, waits until it is ready, and asks it. Nothing of it runs after an error.
 * @throws ReplicaStartError, ContractMismatchError, UnsupportedModelError
 */
export async function describeVersion(
  { runtime, serving, signal }: DescribeParts,
  { version, bundle }: Pick<Plan, "version" | "bundle">,
  image: string,
): Promise<DescribedVersion> {
  const { manifest, settings } = version;
  const { container } = manifest;
  if (!isForeign(container)) throw new TypeError("only servers that are not ours describe themselves");
  const id = serving.nextId(version);
  const { model, version: name } = version;
  const spec = { id, model, version: name, image, bundle, limits: settings.limits };
  const running = await replicaSource(manifest, runtime).start(spec);
  const transport = transportTo(running.address);
  try {
    const options = { manifest, timeoutMs: settings.readyTimeoutMs, signal };
    const modelName = await becomeReadyByAnyName(running, transport, options);
    const at = modelAtServer({ ...container, ...(modelName === undefined ? {} : { modelName }) }, model);
    const { notes, ...found } = await askServer(describeServer(transport, at), running);
    const contract = hasContract(manifest) ? manifest.contract : declared(found.contract, manifest, running);
    const tensors = container.tensors ?? found.tensors;
    checkInputType(manifest, contract, running);
    checkJson(contract, { ...container, tensors }, running);
    const told = hasContract(manifest) ? [] : notes;
    const named =
      modelName === container.modelName
        ? []
        : [`the server's only model is ${modelName}: queries go to that`];
    const wire =
      tensors === "json"
        ? [
            "the server does not announce the binary tensor extension: tensors travel as JSON, which costs more",
          ]
        : [];
    return {
      running,
      manifest: {
        ...manifest,
        contract,
        container: { ...container, tensors, ...(modelName === undefined ? {} : { modelName }) },
      },
      notes: [...told, ...wire, ...named],
    };
  } catch (error) {
    await running.stop(0);
    throw error;
  } finally {
    await transport.close();
  }
}

async function askServer(asking: Promise<Description>, running: RunningReplica): Promise<Description> {
  try {
    return await asking;
  } catch (error) {
    throw new ContractMismatchError(`${whose(running)} cannot be asked: ${(error as Error).message}`, {
      cause: error,
      details: detailsOf(running),
    });
  }
}

/** The server's word is input from outside: it is held to what a manifest may be. */
function declared(contract: Contract | undefined, manifest: Manifest, running: RunningReplica): Contract {
  const details = detailsOf(running);
  if (contract === undefined) {
    throw new ContractMismatchError(
      `${whose(running)} declares no inputs and outputs; give them by the option contract, and its name for the model by modelName if it is another one`,
      { details },
    );
  }
  const most = manifest.contract.maxBatchSize;
  const whole = { ...contract, ...(most === undefined ? {} : { maxBatchSize: most }) };
  const parsed = manifestSchema.safeParse({ ...manifest, contract: whole });
  if (parsed.success) return whole;
  const reason = parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ");
  throw new ContractMismatchError(`${whose(running)} declares a contract that cannot be served: ${reason}`, {
    details,
  });
}

/** @throws ContractMismatchError when no query of the input type could fit the model's inputs */
function checkInputType({ inputType }: Manifest, { inputs }: Contract, running: RunningReplica): void {
  if (inputType === "tensor" || inputType === "json") return;
  const isText = inputType === "strings" || inputType === "bytes";
  const [first, ...more] = inputs;
  const isBytes = first?.datatype === "BYTES";
  if (first !== undefined && more.length === 0 && (isText ? isBytes : !isBytes && first.shape.length === 1))
    return;
  const got = inputs
    .map(({ name, datatype, shape }) => `${name} ${datatype} [${shape.join(",")}]`)
    .join(", ");
  throw new ContractMismatchError(
    `${whose(running)} takes ${got} a row, which inputType ${inputType} does not fit: expected one input, ` +
      `${isText ? "of BYTES" : "a vector of numbers"}; leave inputType out, or have the server take another input`,
    { details: detailsOf(running) },
  );
}

function checkJson(contract: Contract, { tensors }: ForeignSource, running: RunningReplica): void {
  if (tensors !== "json") return;
  const half = [...contract.inputs, ...contract.outputs].find(({ datatype }) => BINARY_ONLY.has(datatype));
  const bytes = contract.inputs.find(({ contentType }) => contentType === "bytes");
  const spec = half ?? bytes;
  if (spec === undefined) return;
  const what = half === undefined ? "bytes that are no text" : spec.datatype;
  throw new UnsupportedModelError(
    `${whose(running)} takes tensors as JSON only, which cannot hold ${what} (tensor ${spec.name}); ` +
      "have the server speak the binary tensor extension, or the model use another type",
    { details: { ...detailsOf(running), tensor: spec.name } },
  );
}

function whose({ model, version }: RunningReplica): string {
  return `the container of model ${model} version ${version}`;
}

function detailsOf(running: RunningReplica): Readonly<Record<string, unknown>> {
  return { replica: running.id, logTail: running.tail(LOG_LINES).map((line) => line.text) };
}
