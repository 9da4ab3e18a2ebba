import { describe, expect, it } from "vitest";
import type { Contract } from "../../../containers/protocol.ts";
import { decodeBytes, encodeBytes, encodeHeader, type TensorHeader } from "../../../containers/tensors.ts";
import { BatchCodec, type BatchBody } from "../../../core/query/batch-body.ts";
import type { Row } from "../../../core/query/query.ts";
import type { InferReply } from "../../../core/replicas/transport.ts";

const TWO_INPUTS: Contract = {
  inputs: [
    { name: "image", datatype: "FP32", shape: [2, -1] },
    { name: "scale", datatype: "INT64", shape: [] },
  ],
  outputs: [{ name: "scores", datatype: "FP32", shape: [2] }],
  isBatched: true,
};
const RAGGED: Contract = {
  inputs: [{ name: "input", datatype: "FP64", shape: [-1], isRagged: true }],
  outputs: [{ name: "output", datatype: "BYTES", shape: [], contentType: "json" }],
  isBatched: true,
};

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const scores = (...values: number[]): Uint8Array => bytesOf(Float32Array.from(values));
const vector = (...values: number[]): Row => ({
  tensors: [{ shape: [values.length], data: bytesOf(Float64Array.from(values)) }],
  key: "",
});

const raggedBesideFree = (...values: number[]): Row => ({
  tensors: [...vector(...values).tensors, { shape: [1], data: scores(9) }],
  key: ";1",
});

const imageRow = (start: number): Row => ({
  tensors: [
    { shape: [2, 1], data: bytesOf(Float32Array.from([start, start + 1])) },
    { shape: [], data: bytesOf(BigInt64Array.from([BigInt(start)])) },
  ],
  key: "2,1;",
});

function parse(encoded: BatchBody): {
  inputs: TensorHeader[];
  tail: Uint8Array;
} {
  const header = JSON.parse(Buffer.from(encoded.body.subarray(0, encoded.headerLength)).toString()) as {
    inputs: TensorHeader[];
  };
  return { inputs: header.inputs, tail: encoded.body.subarray(encoded.headerLength) };
}

function reply(outputs: readonly (TensorHeader & { bytes: Uint8Array })[], statusCode = 200): InferReply {
  const header = encodeHeader({
    outputs: outputs.map(({ bytes, ...rest }) => ({
      ...rest,
      parameters: { ...rest.parameters, binary_data_size: bytes.byteLength },
    })),
  });
  return {
    statusCode,
    headerLength: header.byteLength,
    body: Buffer.concat([header, ...outputs.map(({ bytes }) => bytes)]),
    computeMs: 1,
  };
}

describe("encoding a batch", () => {
  it("puts rows of every input one behind the other, behind a header padded to 8 bytes", () => {
    const codec = new BatchCodec({ contract: TWO_INPUTS }, "m", "1");
    for (let repeat = 0; repeat < 2; repeat++) {
      const encoded = codec.encode([imageRow(1), imageRow(5)]);
      const { inputs, tail } = parse(encoded);
      expect((encoded.headerLength ?? 1) % 8).toBe(0);
      expect(inputs.map(({ name, shape }) => [name, shape])).toEqual([
        ["image", [2, 2, 1]],
        ["scale", [2]],
      ]);
      expect([...new Float32Array(new Uint8Array(tail.subarray(0, 16)).buffer)]).toEqual([1, 2, 5, 6]);
      expect([...new BigInt64Array(new Uint8Array(tail.subarray(16)).buffer)]).toEqual([1n, 5n]);
    }
    expect(parse(codec.encode([imageRow(1)])).inputs[0]?.shape).toEqual([1, 2, 1]);
  });

  it("keeps no header of a row that cannot be written, whose memory was given back", () => {
    const codec = new BatchCodec({ contract: RAGGED }, "m", "1");
    const data = bytesOf(Float64Array.of(1, 2));
    structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
    expect(() => codec.encode([{ tensors: [{ shape: [2], data }], key: "" }])).toThrow("detached");
    const { inputs, tail } = parse(codec.encode([vector(3, 4)]));
    expect(inputs[0]?.parameters?.["binary_data_size"]).toBe(16);
    expect(tail.byteLength).toBe(16);
  });

  it("sends vectors of equal length as one dense tensor, others as BYTES with their element type", () => {
    const codec = new BatchCodec({ contract: RAGGED }, "m", "1");
    expect(parse(codec.encode([vector(1, 2), vector(3, 4)])).inputs[0]).toMatchObject({
      datatype: "FP64",
      shape: [2, 2],
    });
    const { inputs, tail } = parse(codec.encode([vector(1), vector(), vector(2, 3)]));
    expect(inputs[0]).toMatchObject({ datatype: "BYTES", shape: [3], parameters: { content_type: "fp64" } });
    expect(
      decodeBytes(tail, 3).map((element) => Array.from(new Float64Array(new Uint8Array(element).buffer))),
    ).toEqual([[1], [], [2, 3]]);
  });

  it("tells ragged rows by their shapes, also beside an input that is not ragged", () => {
    const contract: Contract = {
      ...RAGGED,
      inputs: [...RAGGED.inputs, { name: "free", datatype: "FP32", shape: [-1] }],
    };
    const codec = new BatchCodec({ contract }, "m", "1");
    expect(
      parse(codec.encode([raggedBesideFree(1, 2), raggedBesideFree(3), raggedBesideFree(4, 5, 6)])).inputs,
    ).toMatchObject([
      { datatype: "BYTES", shape: [3] },
      { datatype: "FP32", shape: [3, 1] },
    ]);
    expect(parse(codec.encode([raggedBesideFree(1, 2), raggedBesideFree(3, 4)])).inputs[0]).toMatchObject({
      datatype: "FP64",
      shape: [2, 2],
    });
    expect(parse(codec.encode([raggedBesideFree(1), raggedBesideFree(3)])).inputs[0]).toMatchObject({
      datatype: "FP64",
      shape: [2, 1],
    });
  });

  it("gives a container without a batch axis the row as it is", () => {
    const codec = new BatchCodec(
      { contract: { ...TWO_INPUTS, inputs: TWO_INPUTS.inputs.slice(0, 1), isBatched: false } },
      "m",
      "1",
    );
    const row: Row = { tensors: [{ shape: [2, 1], data: scores(1, 2) }], key: "2,1" };
    expect(parse(codec.encode([row])).inputs[0]?.shape).toEqual([2, 1]);
  });
});

describe("decoding a reply", () => {
  const codec = new BatchCodec({ contract: TWO_INPUTS }, "m", "1");
  const good = { name: "scores", datatype: "FP32", shape: [2, 2], bytes: scores(1, 2, 3, 4) } as const;

  it("gives the outputs of the contract, whatever else and in whatever order they come", () => {
    const extra = { name: "other", datatype: "FP32", shape: [1], bytes: scores(9) } as const;
    const decoded = codec.decode(reply([extra, good]), 2);
    expect(decoded).toMatchObject({
      kind: "outputs",
      errors: undefined,
      outputs: { tensors: [{ name: "scores" }] },
    });
  });

  it("reads per-item errors", () => {
    const error = Buffer.from('{"code":"MODEL_ERROR","message":"bad"}');
    const errors = {
      name: "windjammer_errors",
      datatype: "BYTES",
      shape: [2],
      parameters: { content_type: "error" },
      bytes: encodeBytes([new Uint8Array(), error]),
    } as const;
    const decoded = codec.decode(reply([good, errors]), 2);
    expect(decoded).toMatchObject({
      errors: [undefined, { code: "MODEL_ERROR", message: "model m version 1: bad" }],
    });
  });

  it("takes rows of any shape of an output whose shape nobody knows", () => {
    const outputs = [{ name: "scores", datatype: "FP32", shape: [-1], hasUnknownShape: true }] as const;
    const free = new BatchCodec({ contract: { ...TWO_INPUTS, outputs } }, "m", "1");
    for (const shape of [
      [2, 2],
      [2, 1, 2],
      [2, 2, 1, 1],
    ]) {
      expect(free.decode(reply([{ ...good, shape }]), 2)).toMatchObject({
        outputs: { tensors: [{ shape }] },
      });
    }
  });

  it.each([
    ["an output is missing", reply([]), "left out its output scores"],
    [
      "the row count is wrong",
      reply([{ ...good, shape: [1, 2], bytes: scores(1, 2) }]),
      "1 rows in output scores for a batch of 2",
    ],
    ["the type is wrong", reply([{ ...good, datatype: "INT32" }]), "should be FP32, but is INT32"],
    ["the sizes do not add up", reply([{ ...good, bytes: scores(1) }]), "takes 16 bytes, got 4"],
    [
      "bytes are left over",
      { ...reply([good]), body: Buffer.concat([reply([good]).body, Buffer.from("x")]) },
      "1 bytes too many",
    ],
    ["it is no inference reply", { ...reply([good]), headerLength: undefined }, "not an inference response"],
    [
      "the header is no JSON",
      { ...reply([good]), body: Buffer.alloc(40), headerLength: 8 },
      "not an inference response",
    ],
    ["a shape is negative", reply([{ ...good, shape: [-2, -2] }]), "malformed"],
    [
      "the row size is wrong",
      reply([{ ...good, shape: [2, 1], bytes: scores(1, 2) }]),
      "should have rows of shape [2], but has [1]",
    ],
  ])("fails the batch with INVALID_MODEL_OUTPUT when %s", (_name, broken: InferReply, text) => {
    expect(codec.decode(broken, 2)).toMatchObject({
      kind: "failed",
      error: { code: "INVALID_MODEL_OUTPUT", message: expect.stringContaining(text) },
    });
  });

  it("fails the batch when a BYTES output has too few elements, and the row whose JSON is empty", () => {
    const json = new BatchCodec({ contract: RAGGED }, "m", "1");
    const output = {
      name: "output",
      datatype: "BYTES",
      shape: [2],
      parameters: { content_type: "json" },
    } as const;
    const one = Buffer.from("1");
    expect(json.decode(reply([{ ...output, bytes: encodeBytes([one]) }]), 2)).toMatchObject({
      error: {
        code: "INVALID_MODEL_OUTPUT",
        message: expect.stringContaining("expected 2 BYTES elements, got 1"),
      },
    });
    expect(json.decode(reply([{ ...output, bytes: encodeBytes([one, new Uint8Array()]) }]), 2)).toMatchObject(
      {
        errors: [undefined, { code: "INVALID_MODEL_OUTPUT" }],
      },
    );
  });

  it("takes the reason out of an error reply", () => {
    const body = Buffer.from('{"error":"no such thing"}');
    expect(
      codec.decode({ statusCode: 400, headerLength: undefined, body, computeMs: undefined }, 2),
    ).toMatchObject({
      error: { code: "MODEL_ERROR", message: "model m version 1 failed with status 400: no such thing" },
    });
  });
});
