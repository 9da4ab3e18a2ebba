// Arrays that Python models return: element types, byte orders, strides, and what they may hold.
import { describe, expect, test } from "vitest";
import type { Contract } from "../../../containers/protocol.ts";
import type { Tensor } from "../../../containers/tensors.ts";
import { TestContainer, textsOf } from "../../helpers/container.ts";
import { pythonBundle, pythonRuns, pythonServer } from "../../helpers/python.ts";

/** What a model gives for the array x = [1, 2]. */
async function given(code: string, outputs: Contract["outputs"]): Promise<ReadonlyMap<string, Tensor>> {
  const input = { name: "x", datatype: "FP32", shape: [] } as const;
  const contract: Contract = { inputs: [input], outputs, isBatched: true };
  await using bundle = await pythonBundle(`import numpy\n\ndef predict(model, x):\n    return ${code}\n`, {
    inputType: "tensor",
    contract,
  });
  await using container = await TestContainer.start(bundle, {}, pythonServer());
  const data = new Uint8Array(Float32Array.of(1, 2).buffer);
  return (await container.infer([{ ...input, shape: [2], data }])).outputs;
}

function hex(tensor: Tensor | undefined): string {
  return Buffer.from(tensor?.data ?? []).toString("hex");
}

const hasNumpy = pythonRuns("python3", "import numpy");

describe.skipIf(!hasNumpy)("declared outputs (skipped without numpy)", () => {
  test.each([
    ["FP32", [], { from: "numpy.array([1, -2], '>f4')", bytes: "0000803f000000c0" }],
    [
      "INT64",
      [2],
      {
        from: "numpy.arange(8).reshape(2, 4)[:, ::-2] + 2 ** 60",
        bytes: "0300000000000010010000000000001007000000000000100500000000000010",
      },
    ],
    ["FP16", [], { from: "[0.1, 65504]", bytes: "662eff7b" }],
    ["BF16", [], { from: "[numpy.float64(1.00390625), numpy.float32('nan')]", bytes: "803fc07f" }],
    ["BOOL", [], { from: "x > 1", bytes: "0001" }],
    ["BYTES", [], { from: "[b'\\0\\xff', bytearray(b'')]", bytes: "0200000000ff00000000" }],
  ] as const)("%s %j of %o", async (datatype, shape, { from, bytes }) => {
    const outputs = await given(from, [{ name: "y", datatype, shape }]);
    expect(hex(outputs.get("y"))).toBe(bytes);
  });

  test("of JSON hold lists as elements, also those of one length", async () => {
    const specs = [
      { name: "score", datatype: "FP32", shape: [] },
      { name: "boxes", datatype: "BYTES", shape: [], contentType: "json" },
    ] as const;
    const outputs = await given("{'score': x, 'boxes': [[1, 2], [3, 4]]}", specs);
    expect(textsOf(outputs.get("boxes"))).toEqual(["[1,2]", "[3,4]"]);
  });

  test("beyond their type fail alone", async () => {
    const outputs = await given("(x * 200).astype('i4')", [{ name: "y", datatype: "UINT8", shape: [] }]);
    expect(hex(outputs.get("y"))).toBe("c800");
    const [good, bad] = textsOf(outputs.get("windjammer_errors"));
    expect(good).toBe("");
    expect(bad).toContain("has numbers beyond UINT8");
  });
});
