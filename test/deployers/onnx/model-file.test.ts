import { closeSync, openSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InferenceSession } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { readOnnxFile, type OnnxModelFile, type OnnxValue } from "../../../deployers/onnx/model-file.ts";
import { onnxModel, type OnnxGraph } from "../../helpers/onnx-writer.ts";
import { tempFolder } from "../../helpers/temp.ts";

async function read(path: string): Promise<OnnxModelFile> {
  const { size } = await stat(path);
  const fd = openSync(path, "r");
  try {
    return readOnnxFile(fd, size);
  } finally {
    closeSync(fd);
  }
}

async function readGraph(graph: OnnxGraph): Promise<OnnxModelFile> {
  const path = join(await tempFolder(), "model.onnx");
  await writeFile(path, onnxModel(graph));
  return read(path);
}

/** As onnxruntime's metadata has it: unnamed free dimensions are "", and an unknown rank is []. */
function asRuntimeSees({ name, type }: OnnxValue): unknown {
  if (type.kind !== "tensor") return { name, isTensor: false };
  return { name, shape: (type.dimensions ?? []).map((size) => size ?? "") };
}

function shapes(metadata: readonly { readonly name: string; readonly shape?: unknown }[]): unknown[] {
  return metadata.map(({ name, shape }) => ({ name, shape }));
}

const IDENTITY: OnnxGraph = {
  inputs: [{ name: "x", type: "float32", shape: ["batch", 3] }],
  outputs: [{ name: "y", type: "float32", shape: ["batch", 3] }],
  nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
};

describe("an .onnx file", () => {
  it("has the inputs and outputs that onnxruntime finds", async () => {
    const digits = fileURLToPath(new URL("../../../examples/digits/digits.onnx", import.meta.url));
    const crafted = join(await tempFolder(), "crafted.onnx");
    await writeFile(
      crafted,
      onnxModel({
        inputs: [
          { name: "first:0", type: "float32", shape: ["batch", null, 3] },
          { name: '{"odd": "name"}', type: "int64", shape: [] },
        ],
        outputs: [
          { name: "a", type: "float32", shape: ["batch", null, 3] },
          { name: "b", type: "int64", shape: [] },
        ],
        nodes: [
          { op: "Identity", inputs: ["first:0"], outputs: ["a"] },
          { op: "Identity", inputs: ['{"odd": "name"}'], outputs: ["b"] },
        ],
      }),
    );
    for (const path of [digits, crafted]) {
      const model = await read(path);
      const session = await InferenceSession.create(path);
      expect(model.inputs.map(asRuntimeSees)).toEqual(shapes(session.inputMetadata));
      expect(model.outputs.map(asRuntimeSees)).toEqual(shapes(session.outputMetadata));
      await session.release();
    }
  });

  it("tells its versions and who made it", async () => {
    const model = await readGraph({ ...IDENTITY, irVersion: 9, opset: 19, producer: "a test" });
    expect(model).toMatchObject({ irVersion: 9, opset: 19, producer: "a test", externalFiles: [] });
  });

  it("tells an unknown rank from a scalar", async () => {
    const model = await readGraph({
      ...IDENTITY,
      inputs: [
        { name: "x", type: "float32" },
        { name: "s", type: "float32", shape: [] },
      ],
    });
    expect(model.inputs.map(({ type }) => type)).toEqual([
      { kind: "tensor", elementType: 1, dimensions: undefined },
      { kind: "tensor", elementType: 1, dimensions: [] },
    ]);
  });

  it("does not take weights for inputs, though older files list them", async () => {
    const model = await readGraph({
      ...IDENTITY,
      inputs: [...IDENTITY.inputs, { name: "w", type: "float32", shape: [1] }],
      initializers: [{ name: "w", type: "float32", dims: [1], data: Float32Array.of(1) }],
    });
    expect(model.inputs.map(({ name }) => name)).toEqual(["x"]);
  });

  it.each(["sequence", "map", "optional"] as const)("knows an output that is a %s", async (kind) => {
    const model = await readGraph({
      ...IDENTITY,
      outputs: [...IDENTITY.outputs, { name: "z", type: "float32", shape: [1], kind }],
    });
    expect(model.outputs[1]).toEqual({ name: "z", type: { kind } });
  });

  it("names its external weight files, also those of constants, and how long they must be", async () => {
    const model = await readGraph({
      ...IDENTITY,
      nodes: [
        {
          op: "Constant",
          inputs: [],
          outputs: ["c"],
          attributes: {
            value: {
              tensor: { name: "c", type: "float32", dims: [2], external: { location: "deep/constants.bin" } },
            },
          },
        },
        ...IDENTITY.nodes,
      ],
      initializers: [
        { name: "a", type: "float32", dims: [4], external: { location: "w.bin", offset: 0, length: 16 } },
        { name: "b", type: "float32", dims: [2], external: { location: "w.bin", offset: 64, length: 8 } },
      ],
    });
    expect(model.externalFiles).toEqual([
      { location: "w.bin", minBytes: 72 },
      { location: "deep/constants.bin", minBytes: 0 },
    ]);
  });
});
