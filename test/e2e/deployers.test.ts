import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  deployFunction,
  deployOnnxModel,
  windjammer,
  type OnnxOptions,
  type TensorInput,
  type TensorOutput,
  type Windjammer,
} from "../../deployers/index.ts";
import { testDeployments } from "../conformance/deployer.ts";
import { containerCase, functionCase, onnxCase } from "../helpers/deployer-cases.ts";
import { onnxModel, type OnnxGraph } from "../helpers/onnx-writer.ts";
import { installed, project } from "../helpers/project.ts";
import { tempFolder } from "../helpers/temp.ts";

testDeployments(functionCase);
testDeployments(onnxCase);
testDeployments(containerCase);

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

describe("deployed models", () => {
  let wj: Windjammer;

  beforeAll(async () => {
    wj = await windjammer({ port: 0, adminPort: 0 });
  });

  afterAll(() => wj.close());

  /** Deploys a crafted model; what it answers to `inputs`. */
  async function answers(
    crafted: { readonly name: string; readonly graph: OnnxGraph; readonly options?: Partial<OnnxOptions> },
    inputs: readonly TensorInput[],
  ): Promise<readonly TensorOutput[]> {
    const model = join(await tempFolder(), "crafted.onnx");
    await writeFile(model, onnxModel(crafted.graph));
    const deployed = await deployOnnxModel(wj, {
      name: crafted.name,
      version: "1",
      model,
      ...crafted.options,
    });
    return deployed.predictBatch(inputs);
  }

  it("have functions around them: labels for the digits, from text", async () => {
    const folder = await project({
      "labels.ts": `
        import type { Postprocess, Preprocess } from "windjammer";
        const words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
        export const preprocess: Preprocess<string> = (texts) =>
          texts.map((text) => ({ image: Float32Array.from(text.split(","), Number) }));
        export const postprocess: Postprocess<{ label: string; score: number }, string> = (outputs) =>
          outputs.map(({ digit, scores }) => {
            const index = Number(digit!.data[0]);
            return { label: words[index]!, score: Number(scores!.data[index]) };
          });`,
    });
    const cases = JSON.parse(
      await readFile(new URL("../../examples/digits/digits-cases.json", import.meta.url), "utf8"),
    ) as { readonly images: readonly number[][][]; readonly digits: readonly number[] };
    const digits = await deployOnnxModel<string, { readonly label: string; readonly score: number }>(wj, {
      name: "labels",
      version: "1",
      model: DIGITS,
      inputType: "strings",
      processing: join(folder, "labels.ts"),
    });
    const predictions = await digits.predictBatch(cases.images.map((image) => image.flat(3).join(",")));
    const words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    expect(predictions.map(({ label }) => label)).toEqual(cases.digits.map((digit) => words[digit]));
    for (const { score } of predictions) expect(score).toBeGreaterThan(0.5);
  });

  it("have the batch on another axis, and inputs that all rows share", async () => {
    const graph: OnnxGraph = {
      inputs: [
        { name: "x", type: "float32", shape: ["batch", "length"] },
        { name: "state", type: "float32", shape: [2, "batch"] },
        { name: "scale", type: "float32", shape: [] },
      ],
      outputs: [
        { name: "y", type: "float32", shape: ["batch", "length"] },
        { name: "next", type: "float32", shape: [2, "batch"] },
      ],
      nodes: [
        { op: "Mul", inputs: ["x", "scale"], outputs: ["y"] },
        { op: "Add", inputs: ["state", "scale"], outputs: ["next"] },
      ],
    };
    const inputs = [
      { x: [1, 2], state: [10, 20], scale: 2 },
      { x: [3, 4], state: [30, 40], scale: 2 },
      { x: [5, 6], state: [50, 60], scale: 3 },
      { x: [7], state: [70, 80], scale: 3 },
    ];
    expect(await answers({ name: "recurrent", graph }, inputs)).toEqual([
      { y: [2, 4], next: [12, 22] },
      { y: [6, 8], next: [32, 42] },
      { y: [15, 18], next: [53, 63] },
      { y: [21], next: [73, 83] },
    ]);
  });

  const PLUS_ONE: OnnxGraph = {
    inputs: [{ name: "x", type: "float32", shape: [3, 2] }],
    outputs: [{ name: "y", type: "float32", shape: [3, 2] }],
    nodes: [{ op: "Add", inputs: ["x", "one"], outputs: ["y"] }],
    initializers: [{ name: "one", type: "float32", dims: [1], data: Float32Array.of(1) }],
  };

  it("have all sizes fixed: whole tensors a query, or with batchAxis that many rows a call", async () => {
    const whole = [
      [1, 2],
      [3, 4],
      [5, 6],
    ];
    expect(await answers({ name: "fixed-whole", graph: PLUS_ONE }, [whole])).toEqual([
      [
        [2, 3],
        [4, 5],
        [6, 7],
      ],
    ]);
    const rows = [
      [1, 2],
      [3, 4],
      [5, 6],
      [7, 8],
    ];
    const fixed = await answers({ name: "fixed-rows", graph: PLUS_ONE, options: { batchAxis: 0 } }, rows);
    expect(fixed).toEqual([
      [2, 3],
      [4, 5],
      [6, 7],
      [8, 9],
    ]);
  });

  it("have outputs whose shape the file does not tell, or that are no tensors", async () => {
    const graph: OnnxGraph = {
      ...PLUS_ONE,
      inputs: [{ name: "x", type: "float32", shape: ["N", 2] }],
      outputs: [
        { name: "y", type: "float32" },
        { name: "list", type: "float32", shape: ["N", 2], kind: "sequence" },
      ],
      nodes: [...PLUS_ONE.nodes, { op: "SequenceConstruct", inputs: ["x"], outputs: ["list"] }],
    };
    expect(await answers({ name: "shapeless", graph }, [[1, 2], Float32Array.of(3, 4)])).toEqual([
      [2, 3],
      [4, 5],
    ]);
  });

  it("take Clipper's types, written flat, and bytes", async () => {
    const graph: OnnxGraph = {
      ...PLUS_ONE,
      inputs: [{ name: "x", type: "float32", shape: ["N", "width", 2] }],
      outputs: [{ name: "y", type: "float32", shape: ["N", "width", 2] }],
    };
    const flat = await answers({ name: "flat", graph, options: { inputType: "floats" } }, [
      [1, 2, 3, 4],
      [5, 6],
    ]);
    expect(flat).toEqual([
      [
        [2, 3],
        [4, 5],
      ],
      [[6, 7]],
    ]);
    const folder = await project({
      "size.ts":
        "export const predict = (files: Uint8Array[]) => files.map((file) => file[0]! + file.length);",
    });
    const size = await deployFunction(wj, {
      name: "size",
      version: "1",
      inputType: "bytes",
      module: join(folder, "size.ts"),
    });
    expect(await size.predict(Uint8Array.of(7, 255, 0))).toBe(10);
  });

  it("use packages that are installed where the server runs", async () => {
    const folder = await project({
      "check.ts":
        'import { z } from "zod"; const schema = z.object({ name: z.string() }); export const predict = (values: unknown[]) => values.map((value) => schema.safeParse(value).success);',
      ...installed("zod", "0.0.0"),
    });
    const zod = JSON.parse(
      await readFile(new URL("../../node_modules/zod/package.json", import.meta.url), "utf8"),
    );
    const check = await deployFunction(wj, {
      name: "check",
      version: "1",
      inputType: "json",
      module: join(folder, "check.ts"),
      packages: { zod: zod.version },
    });
    expect(await check.predictBatch([{ name: "x" }, { name: 1 }])).toEqual([true, false]);
  });

  it("name the user's file and line when they fail", async () => {
    const folder = await project({
      "src/model.ts":
        "interface Row { readonly deep: { readonly value: number } }\n\nexport const predict = (rows: readonly Row[]): number[] =>\n  rows.map((row) => row.deep.value);\n",
    });
    const failing = await deployFunction(wj, {
      name: "failing",
      version: "1",
      inputType: "json",
      module: join(folder, "src/model.ts"),
      examples: [{ input: { deep: { value: 3 } }, output: 3 }],
    });
    await expect(failing.predict({})).rejects.toThrow("reading 'value'");
    const replica = (await wj.replicas()).find(({ model }) => model === "failing");
    const lines: string[] = [];
    for await (const line of wj.logs(replica?.id ?? "", { tail: 100 })) lines.push(line.text);
    expect(lines.join("\n")).toMatch(/model\.ts:4:/);
  });
});
