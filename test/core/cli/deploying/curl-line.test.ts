// The line that asks a deployed model: quoted for the shell, short, and of the contract's own shape.
import { describe, expect, test } from "vitest";
import { type InputType, type Manifest, type TensorSpec, valueContract } from "windjammer";
import { curlLine, inputFlag } from "../../../../core/cli/deploying/curl-line.ts";
import { manifest } from "../../../../core/deploy/deployer.ts";

const URL = "http://127.0.0.1:1337/net/predict";

function model(inputType: InputType, inputs?: readonly TensorSpec[]): Manifest {
  const contract =
    inputType === "tensor"
      ? { inputs: inputs ?? [], outputs: [], isBatched: true }
      : valueContract(inputType);
  return manifest({ deployer: "test", loader: "function", inputType, contract });
}

describe("curlLine", () => {
  test.each<[string, Manifest, string]>([
    ["JSON", model("json"), `curl -s ${URL} -d '{"input":{}}'`],
    ["numbers", model("doubles"), `curl -s ${URL} -d '{"input":[0]}'`],
    ["texts", model("strings"), `curl -s ${URL} -d '{"input":""}'`],
    [
      "a small tensor",
      model("tensor", [{ name: "x", datatype: "FP32", shape: [2, -1] }]),
      `curl -s ${URL} -d '{"input":[[0],[0]]}'`,
    ],
    [
      "an image",
      model("tensor", [{ name: "x", datatype: "FP32", shape: [28, 28, 1] }]),
      `curl -s ${URL} -d "{\\"input\\": $(node -p 'JSON.stringify(Array(784).fill(0))')}"`,
    ],
    [
      "several tensors",
      model("tensor", [
        { name: "ids", datatype: "INT64", shape: [128] },
        { name: "on", datatype: "BOOL", shape: [] },
      ]),
      `curl -s ${URL} -d "{\\"input\\": $(node -p 'JSON.stringify({ "ids": Array(128).fill(0), "on": false })')}"`,
    ],
  ])("of %s", (_, given, line) => {
    expect(curlLine(URL, given)).toBe(line);
  });

  test("takes an example that the model is known to answer, quoted", () => {
    expect(curlLine(URL, model("strings"), { example: "it's" })).toBe(
      `curl -s ${URL} -d '{"input":"it'\\''s"}'`,
    );
  });

  test("makes a long example's shape, where the contract leaves it free", () => {
    const given = model("tensor", [
      { name: "input", datatype: "FP32", shape: [-1] },
      { name: "state", datatype: "FP32", shape: [2, -1] },
      { name: "sr", datatype: "INT64", shape: [] },
    ]);
    const zeros = Array.from({ length: 128 }, () => 0.5);
    expect(curlLine(URL, given, { example: { input: zeros, state: [zeros, zeros], sr: 16_000 } })).toContain(
      'JSON.stringify({ "input": Array(128).fill(0.5), "state": Array(256).fill(0.5), "sr": 16000 })',
    );
  });

  test("names a version that does not serve", () => {
    const asking = { version: "2" };
    expect(curlLine(URL, model("doubles"), asking)).toBe(`curl -s ${URL} -d '{"input":[0],"version":"2"}'`);
    const image = model("tensor", [{ name: "x", datatype: "FP32", shape: [28, 28, 1] }]);
    expect(curlLine(URL, image, asking)).toMatch(/"\{\\"input\\": \$\(.*\), \\"version\\": \\"2\\"\}"$/);
    expect(curlLine(URL, model("json"), { example: "x".repeat(500), version: "2" })).toBe(
      "windjammer predict net --version 2",
    );
  });

  test("leaves what is long and no tensor to windjammer predict", () => {
    expect(curlLine(URL, model("json"), { example: "x".repeat(500) })).toBe("windjammer predict net");
  });
});

describe("inputFlag", () => {
  test.each<[string, Manifest, string]>([
    ["numbers", model("doubles"), `--input '[0]'`],
    [
      "an image",
      model("tensor", [{ name: "x", datatype: "FP32", shape: [28, 28, 1] }]),
      `--input "$(node -p 'JSON.stringify(Array(784).fill(0))')"`,
    ],
  ])("of %s", (_, given, flag) => {
    expect(inputFlag(given)).toBe(flag);
  });
});
