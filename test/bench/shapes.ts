// The shapes of requests and replies: how each server takes one row, and where in its reply the prediction is.
import { requestBytes } from "./connection.ts";

/** A number, or lists of them. */
export type Nested = number | readonly Nested[];

export interface Shape {
  /** Ready-made bytes that ask for one row. */
  readonly request: (url: string, row: Nested) => Buffer;
  /** The part of a reply that holds the prediction, without ids that differ from reply to reply. */
  readonly answer: (reply: string) => string;
}

/** As Clipper has it, and we: {"input": row}. */
export const CLIPPER: Shape = {
  request: (url, row) => requestBytes(url, JSON.stringify({ input: row })),
  answer: (reply) => {
    const end = reply.indexOf(',"default"');
    return reply.slice(Math.max(0, reply.indexOf('"output"')), end === -1 ? undefined : end);
  },
};

/** The input of a model in the Open Inference Protocol; its shape is that of one row. */
interface Tensor {
  readonly name: string;
  readonly datatype: "FP32" | "FP64";
  readonly shape: readonly number[];
}

const FLOATS = { FP32: Float32Array, FP64: Float64Array } as const;

function oipAnswer(reply: string): string {
  return reply.slice(Math.max(0, reply.indexOf('"data"')));
}

export function oipJson(tensor: Tensor): Shape {
  return {
    request: (url, row) => {
      const input = { ...tensor, shape: [1, ...tensor.shape], data: numbersOf(row) };
      return requestBytes(url, JSON.stringify({ inputs: [input] }));
    },
    answer: oipAnswer,
  };
}

/** Numbers behind the JSON as they are in memory; outputs come as JSON. */
export function oipBinary(tensor: Tensor): Shape {
  return {
    request: (url, row) => {
      const data = Buffer.from(new FLOATS[tensor.datatype](numbersOf(row)).buffer);
      const input = {
        ...tensor,
        shape: [1, ...tensor.shape],
        parameters: { binary_data_size: data.length },
      };
      const header = Buffer.from(JSON.stringify({ inputs: [input] }));
      return requestBytes(url, Buffer.concat([header, data]), [
        `Inference-Header-Content-Length: ${header.length}`,
      ]);
    },
    answer: oipAnswer,
  };
}

/** Any JSON API: `body` with $row in place of the row, and the dotted path to the prediction in the reply. */
export function templated(body: string, path: string): Shape {
  if (!body.includes("$row")) throw new Error(`a body needs $row in place of the numbers, not ${body}`);
  const keys = path === "" ? [] : path.split(".");
  return {
    request: (url, row) => requestBytes(url, body.replaceAll("$row", JSON.stringify(row))),
    answer: (reply) => JSON.stringify(keys.reduce(valueAt, JSON.parse(reply) as unknown) ?? null),
  };
}

function valueAt(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

function numbersOf(row: Nested): readonly number[] {
  return typeof row === "number" ? [row] : row.flatMap(numbersOf);
}
