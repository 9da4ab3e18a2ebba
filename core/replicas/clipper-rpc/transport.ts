// One batch between our wire form and Clipper's: Open Inference Protocol bodies on this side, lists of raw inputs and
// output texts on the container's.
import type { Manifest } from "../../../containers/protocol.ts";
import {
  binaryHeader,
  decodeBytes,
  encodeBytes,
  encodeHeader,
  sliceBinary,
  type Tensor,
  type TensorHeader,
} from "../../../containers/tensors.ts";
import type { InferCall, InferReply, ReplicaTransport } from "../transport.ts";

/** What comes back for a batch: an output text each, or why there is none. */
export type PredictDone = (error: Error | undefined, outputs: readonly Uint8Array[] | undefined) => void;

/** A container to predict with. */
export interface RpcPeer {
  readonly isConnected: boolean;
  /** Calls `done` exactly once. */
  predict(inputs: readonly Uint8Array[], done: PredictDone): void;
}

/** A batch that the container got, and answered with something that is no answer. */
export class RpcAnswerError extends Error {
  override readonly name = "RpcAnswerError";
}

/** The way to a container of Clipper's, for a version of this manifest. */
export function rpcTransport(peer: RpcPeer, manifest: Manifest): ReplicaTransport {
  const [input] = manifest.contract.inputs;
  const [output] = manifest.contract.outputs;
  if (input === undefined || output === undefined)
    throw new TypeError("the contract of a value has one input");
  return {
    infer(call, done) {
      const inputs = inputsOf(call);
      peer.predict(inputs, (error, outputs) => {
        if (outputs !== undefined && outputs.length === inputs.length)
          done(undefined, replyOf(output.name, outputs));
        else if (outputs !== undefined) done(undefined, refusal(wrongCount(inputs.length, outputs.length)));
        else if (error instanceof RpcAnswerError) done(undefined, refusal(error.message));
        else done(error ?? new Error("it gave no answer"), undefined);
      });
    },
    get: async () => ({ statusCode: peer.isConnected ? 200 : 503, text: "" }),
    // The container's own: it goes on serving whoever takes it in next.
    close: async () => undefined,
  };
}

/** Each row's raw data: dense rows are cut evenly, elements of BYTES hold one row each. */
function inputsOf({ body, headerLength }: InferCall): readonly Uint8Array[] {
  if (headerLength === undefined) throw new TypeError("a batch for a container of Clipper's is binary");
  const text = Buffer.from(body.buffer, body.byteOffset, headerLength).toString("utf8");
  const { inputs } = JSON.parse(text) as { readonly inputs: readonly TensorHeader[] };
  const [tensor] = inputs;
  const data = tensor === undefined ? undefined : sliceBinary(inputs, body, headerLength).get(tensor.name);
  if (tensor === undefined || data === undefined) throw new TypeError("a batch has one binary tensor");
  const count = tensor.shape[0] ?? 0;
  if (tensor.datatype === "BYTES") return decodeBytes(data, count);
  const rowBytes = count === 0 ? 0 : data.byteLength / count;
  return Array.from({ length: count }, (_, row) => data.subarray(row * rowBytes, (row + 1) * rowBytes));
}

function replyOf(name: string, outputs: readonly Uint8Array[]): InferReply {
  const tensor: Tensor = {
    name,
    datatype: "BYTES",
    shape: [outputs.length],
    contentType: "json",
    data: encodeBytes(outputs.map(asJson)),
  };
  const header = encodeHeader({ outputs: [binaryHeader(tensor)] });
  const body = new Uint8Array(header.byteLength + tensor.data.byteLength);
  body.set(header);
  body.set(tensor.data, header.byteLength);
  return { statusCode: 200, body, headerLength: header.byteLength, computeMs: undefined };
}

/** An output is the JSON value that its text is, and else a string: "1" is a number, "cat" is not. */
function asJson(output: Uint8Array): Uint8Array {
  const text = Buffer.from(output.buffer, output.byteOffset, output.byteLength).toString("utf8");
  try {
    JSON.parse(text);
    return output;
  } catch {
    return Buffer.from(JSON.stringify(text));
  }
}

function wrongCount(inputs: number, outputs: number): string {
  return `it answered ${inputs} inputs with ${outputs} outputs; its predict function has to return one output for each input`;
}

function refusal(error: string): InferReply {
  const body = Buffer.from(JSON.stringify({ error }));
  return { statusCode: 500, body, headerLength: undefined, computeMs: undefined };
}
