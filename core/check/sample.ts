// Requests to try a model container with: rows made from its contract, each unlike the others, and what comes back.
import type { Contract, Datatype, TensorSpec } from "../../containers/protocol.ts";
import { packJson } from "../../containers/json-data.ts";
import { binaryHeader, elementCount, encodeHeader, type Tensor } from "../../containers/tensors.ts";
import { jsonBody } from "../query/json-body.ts";
import type { InferCall, InferReply, ReplicaTransport } from "../replicas/transport.ts";

const CALL_DEADLINE_MS = 30_000;

/** One row of every input; the same number gives the same row. */
export function sampleTensors(
  { inputs, isBatched }: Contract,
  numbers: readonly number[],
): readonly Tensor[] {
  return inputs.map((spec) => {
    const row = spec.shape.map((size) => (size < 0 ? 1 : size));
    const data = numbers.flatMap((number) => elementsOf(spec, number, elementCount(row)));
    const shape = isBatched ? [numbers.length, ...row] : row;
    const { name, datatype, contentType } = spec;
    const packed = packElements(datatype, shape, data);
    return { name, datatype, shape, data: packed, ...(contentType === undefined ? {} : { contentType }) };
  });
}

function packElements(datatype: Datatype, shape: readonly number[], data: readonly unknown[]): Uint8Array {
  // JSON has no half floats: zeros do for them.
  if (datatype === "FP16" || datatype === "BF16") return new Uint8Array(data.length * 2);
  return packJson(data, { datatype, shape });
}

function elementsOf(
  { datatype, contentType }: TensorSpec,
  number: number,
  count: number,
): readonly unknown[] {
  return Array.from({ length: count }, (_, index) => {
    const value = (number + index) % 7;
    if (datatype === "BYTES") return contentType === "json" ? `{"value":${value}}` : `text ${value}`;
    if (datatype === "BOOL") return value % 2 === 1;
    return datatype === "FP32" || datatype === "FP64" ? value / 8 : value;
  });
}

export function jsonCall(path: string, tensors: readonly Tensor[]): InferCall {
  return { path, body: jsonBody(tensors), headerLength: undefined, deadlineMs: CALL_DEADLINE_MS };
}

export function binaryCall(path: string, tensors: readonly Tensor[]): InferCall {
  const header = encodeHeader({
    inputs: tensors.map(binaryHeader),
    parameters: { binary_data_output: true },
  });
  const body = Buffer.concat([header, ...tensors.map(({ data }) => data)]);
  return { path, body, headerLength: header.byteLength, deadlineMs: CALL_DEADLINE_MS };
}

/** A body that is sent as it is. */
export function rawCall(path: string, text: string, headerLength?: number): InferCall {
  return { path, body: Buffer.from(text), headerLength, deadlineMs: CALL_DEADLINE_MS };
}

/** Rejects when no answer comes in time. */
export function send(transport: ReplicaTransport, call: InferCall): Promise<InferReply> {
  const sent = new Promise<InferReply>((resolve, reject) => {
    transport.infer(call, (error, reply) => {
      if (reply === undefined) reject(error ?? new Error("no reply"));
      else resolve(reply);
    });
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${CALL_DEADLINE_MS} ms`)), CALL_DEADLINE_MS);
  });
  return Promise.race([sent, late]).finally(() => clearTimeout(timer));
}

/** "200", "400: input x: expected FP32". */
export function statusText({ statusCode, body }: InferReply): string {
  if (statusCode === 200) return "status 200";
  const text = Buffer.from(body).toString("utf8").trim();
  return `status ${statusCode}${text === "" ? ", with an empty body" : `: ${text.slice(0, 300)}`}`;
}
