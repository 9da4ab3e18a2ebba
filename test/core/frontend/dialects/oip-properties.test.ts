// Any tensor of any type comes through unchanged: JSON → core → binary → core, and by gRPC's typed contents.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DATATYPE_BYTES, type Datatype, type Manifest } from "../../../../containers/protocol.ts";
import { elementCount, encodeBytes, type Tensor } from "../../../../containers/tensors.ts";
import { inferReply } from "../../../../core/frontend/dialects/oip/infer-reply.ts";
import { readInferRequest } from "../../../../core/frontend/dialects/oip/infer-request.ts";
import { type InputTensor, rowsOf } from "../../../../core/frontend/dialects/oip/input-rows.ts";
import { joinOutputs } from "../../../../core/frontend/dialects/oip/output-tensors.ts";
import { contentsOf, packContents } from "../../../../core/frontend/grpc/contents.ts";
import { BatchOutputs, type Outcome, type Row } from "../../../../core/query/query.ts";
import { tensorManifest } from "../../query/fakes.ts";

interface Case {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 });

/** Bytes of a tensor; BOOL only of 0 and 1, BYTES of elements of any bytes. */
function dataOf(datatype: Datatype, count: number): fc.Arbitrary<Uint8Array> {
  if (datatype === "BYTES")
    return fc
      .array(fc.uint8Array({ maxLength: 12 }), { minLength: count, maxLength: count })
      .map((elements) => encodeBytes(elements));
  const length = count * DATATYPE_BYTES[datatype];
  return fc.uint8Array({ minLength: length, maxLength: length, max: datatype === "BOOL" ? 1 : 255 });
}

const cases: fc.Arbitrary<Case> = fc
  .tuple(fc.constantFrom(...(Object.keys(DATATYPE_BYTES) as Datatype[])), shapes)
  .chain(([datatype, shape]) =>
    dataOf(datatype, elementCount(shape)).map((data) => ({ datatype, shape, data })),
  );

function manifestOf({ datatype, shape }: Case): Manifest {
  const specs = [{ name: "x", datatype, shape: shape.slice(1) }];
  return tensorManifest(specs, specs);
}

/** What a model that gives its input back answers: rows cut into batches of two, as they come. */
function outcomesOf(manifest: Manifest, rows: readonly Row[]): readonly Outcome[] {
  return rows.map((_, index): Outcome => {
    const first = index - (index % 2);
    const batch = rows.slice(first, first + 2);
    const tensors = manifest.contract.outputs.map(({ name, datatype }): Tensor => {
      const data = Buffer.concat(batch.map(({ tensors: [tensor] }) => tensor?.data ?? new Uint8Array()));
      return { name, datatype, shape: [batch.length, ...(batch[0]?.tensors[0]?.shape ?? [])], data };
    });
    return {
      kind: "ok",
      outputs: new BatchOutputs(tensors, batch.length),
      index: index - first,
      version: "1",
    };
  });
}

interface Sent {
  readonly body: Buffer;
  readonly headerLength: string | undefined;
}

/** One pass: a request in, the reply that echoes it out, as a request again. */
function echo(manifest: Manifest, { body, headerLength }: Sent, isBinary: boolean): Sent {
  const request = { ...readInferRequest(manifest, body, headerLength), isBinary };
  const outcomes = outcomesOf(manifest, rowsOf(manifest, request.inputs, 1000));
  const reply = inferReply({
    manifest,
    modelName: "m",
    modelVersion: "1",
    outcomes,
    request,
    requestId: 1,
    encoding: undefined,
  });
  const bytes = typeof reply.body === "string" ? Buffer.from(reply.body) : Buffer.concat(reply.body);
  const at = reply.headers?.indexOf("inference-header-content-length") ?? -1;
  const length = at < 0 ? undefined : Number(reply.headers?.[at + 1]);
  const renamed = bytes.subarray(0, length).toString().replace('"outputs":', '"inputs":');
  const body2 = Buffer.concat([
    Buffer.from(renamed),
    length === undefined ? Buffer.alloc(0) : bytes.subarray(length),
  ]);
  return { body: body2, headerLength: length === undefined ? undefined : String(Buffer.byteLength(renamed)) };
}

function binaryOf({ datatype, shape, data }: Case): Sent {
  const header = Buffer.from(
    JSON.stringify({
      inputs: [{ name: "x", datatype, shape, parameters: { binary_data_size: data.length } }],
    }),
  );
  return { body: Buffer.concat([header, data]), headerLength: String(header.length) };
}

function inputOf(manifest: Manifest, sent: Sent): InputTensor {
  const [input] = readInferRequest(manifest, sent.body, sent.headerLength).inputs;
  if (input === undefined) throw new Error("no input");
  return input;
}

/** Bytes with what JSON has no words for taken away: NaNs and infinities are one NaN there. */
function comparable(datatype: Datatype, data: Uint8Array): unknown {
  const buffer = new Uint8Array(data).buffer;
  if (datatype !== "FP32" && datatype !== "FP64") return Buffer.from(data).toString("hex");
  const numbers = datatype === "FP32" ? new Float32Array(buffer) : new Float64Array(buffer);
  return Array.from(numbers, (value) =>
    Number.isFinite(value) ? (Object.is(value, -0) ? 0 : value) : "none",
  );
}

describe("a tensor of any type", () => {
  test("survives binary → core → binary, to the byte", () => {
    fc.assert(
      fc.property(cases, (one) => {
        const manifest = manifestOf(one);
        const input = inputOf(manifest, echo(manifest, binaryOf(one), true));
        expect([input.datatype, input.shape]).toEqual([one.datatype, one.shape]);
        expect(Buffer.from(input.data).equals(one.data)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test("survives binary → core → JSON → core → binary, but for what JSON cannot say", () => {
    const sayable = cases.filter(({ datatype }) => datatype !== "FP16" && datatype !== "BF16");
    fc.assert(
      fc.property(sayable, (one) => {
        const manifest = manifestOf(one);
        const json = echo(manifest, binaryOf(one), false);
        const input = inputOf(manifest, echo(manifest, json, true));
        expect(input.shape).toEqual(one.shape);
        expect(comparable(one.datatype, input.data)).toEqual(comparable(one.datatype, one.data));
      }),
      { numRuns: 600 },
    );
  });

  test("survives gRPC's typed contents, to the byte", () => {
    const typed = cases.filter(({ datatype }) => datatype !== "FP16" && datatype !== "BF16");
    fc.assert(
      fc.property(typed, (one) => {
        const manifest = manifestOf(one);
        const rows = rowsOf(manifest, [{ name: "x", ...one }], 1000);
        const { tensors } = joinOutputs(manifest, outcomesOf(manifest, rows), []);
        const [joined] = tensors;
        if (joined === undefined) throw new Error("no output");
        const packed = packContents(contentsOf(joined), { name: "x", ...one });
        // A NaN's payload is nobody's.
        expect(comparable(one.datatype, packed)).toEqual(comparable(one.datatype, one.data));
      }),
      { numRuns: 400 },
    );
  });
});
