// Infer requests against a contract: what is cached, what is a view, what is in the reply.
import { describe, expect, test } from "vitest";
import { ReplyWriter } from "../../containers/infer-reply.ts";
import { RequestReader } from "../../containers/infer-request.ts";
import type { Contract } from "../../containers/protocol.ts";
import { encodeBytes, encodeHeader, type Tensor } from "../../containers/tensors.ts";

const contract: Contract = {
  inputs: [{ name: "x", datatype: "FP32", shape: [2] }],
  outputs: [
    { name: "y", datatype: "FP32", shape: [1] },
    { name: "label", datatype: "BYTES", shape: [], contentType: "str" },
  ],
  isBatched: true,
};

function binaryBody(fields: object = {}): { body: Uint8Array; length: number } {
  const header = encodeHeader({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }],
    ...fields,
  });
  const body = new Uint8Array(header.byteLength + 8);
  body.set(header);
  return { body, length: header.byteLength };
}

const result = {
  outputs: [
    { name: "y", datatype: "FP32", shape: [1, 1], data: new Uint8Array(Float32Array.of(0.5).buffer) },
    {
      name: "label",
      datatype: "BYTES",
      shape: [1],
      data: encodeBytes([Buffer.from("a")]),
      contentType: "str",
    },
  ] satisfies Tensor[],
};

describe("RequestReader", () => {
  test("gives views of the body, not copies", () => {
    const { body, length } = binaryBody();
    const request = new RequestReader(contract).read(body, length);
    expect(request.count).toBe(1);
    expect(request.inputs[0]?.data.buffer).toBe(body.buffer);
    expect(request.inputs[0]?.data.byteOffset).toBe(length);
  });

  test("reads an equal header once", () => {
    const reader = new RequestReader(contract);
    const first = binaryBody();
    const second = binaryBody();
    expect(reader.read(second.body, second.length).reply).toBe(reader.read(first.body, first.length).reply);
  });

  test("reads a header with an id every time", () => {
    const reader = new RequestReader(contract);
    const { body, length } = binaryBody({ id: "a" });
    expect(reader.read(body, length).reply).not.toBe(reader.read(body, length).reply);
  });

  test("forgets headers instead of keeping all there ever were", () => {
    const reader = new RequestReader(contract);
    const { body, length } = binaryBody();
    const { reply } = reader.read(body, length);
    for (let n = 0; n < 300; n += 1) {
      const other = binaryBody({ [`parameter${n}`]: 1 });
      reader.read(other.body, other.length);
    }
    expect(reader.read(body, length).reply).not.toBe(reply);
  });
});

describe("ReplyWriter", () => {
  const writer = new ReplyWriter({ name: "m", version: "1" }, contract);
  const reader = new RequestReader(contract);

  test("writes the header of an equal shape once, where no size depends on the content", () => {
    const { body, length } = binaryBody({ outputs: [{ name: "y" }] });
    const { reply } = reader.read(body, length);
    expect(writer.write(reply, result).chunks[0]).toBe(writer.write(reply, result).chunks[0]);
    const all = reader.read(binaryBody().body, binaryBody().length).reply;
    expect(writer.write(all, result).chunks[0]).not.toBe(writer.write(all, result).chunks[0]);
  });

  test("passes the data on without a copy", () => {
    const { body, length } = binaryBody();
    const { chunks } = writer.write(reader.read(body, length).reply, result);
    expect(chunks.slice(1)).toEqual(result.outputs.map(({ data }) => data));
    expect(chunks[1]).toBe(result.outputs[0]?.data);
  });

  test("gives the outputs in the order they were asked for, each as asked", () => {
    const { body, length } = binaryBody({
      outputs: [{ name: "label", parameters: { binary_data: false } }, { name: "y" }],
    });
    const reply = writer.write(reader.read(body, length).reply, result);
    const header = JSON.parse(Buffer.from(reply.chunks[0] ?? []).toString("utf8")) as { outputs: unknown };
    expect(header.outputs).toEqual([
      { name: "label", datatype: "BYTES", shape: [1], parameters: { content_type: "str" }, data: ["a"] },
      { name: "y", datatype: "FP32", shape: [1, 1], parameters: { binary_data_size: 4 } },
    ]);
  });

  test("adds the errors of rows also to a reply of chosen outputs", () => {
    const { body, length } = binaryBody({ outputs: [{ name: "y" }] });
    const errors = [{ code: "MODEL_ERROR", message: "no" }] as const;
    const reply = writer.write(reader.read(body, length).reply, { ...result, errors });
    const header = JSON.parse(Buffer.from(reply.chunks[0] ?? []).toString("utf8")) as {
      outputs: { name: string }[];
    };
    expect(header.outputs.map(({ name }) => name)).toEqual(["y", "windjammer_errors"]);
  });
});
