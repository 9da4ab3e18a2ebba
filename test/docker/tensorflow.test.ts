// A TensorFlow.js model in a container, on WebAssembly.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { Engine } from "../../core/runtimes/engine.ts";
import { deployTensorFlowModel, windjammer } from "../../deployers/index.ts";
import { BASE_IMAGE, hasEngine, testDocker } from "./engine.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/", import.meta.url));

interface Cases {
  readonly images: readonly number[][][][];
  readonly scores: readonly (readonly number[])[];
}

async function inspect(format: string, id: string): Promise<string> {
  return (await promisify(execFile)("docker", ["inspect", "--format", format, id])).stdout.trim();
}

describe.skipIf(!hasEngine)("the digits network in a container", () => {
  it("gives the expected scores, from an image of 40 MiB at most above its base", async () => {
    const { images, scores } = JSON.parse(await readFile(join(DIGITS, "digits-cases.json"), "utf8")) as Cases;
    await using wj = await windjammer({ port: 0, adminPort: 0, runtime: testDocker() });
    const digits = await deployTensorFlowModel<number[][][], number[]>(wj, {
      name: "digits-tensorflow",
      version: "1",
      model: join(DIGITS, "tfjs"),
      backend: "wasm",
      latencyObjectiveMs: 5000,
    });
    const answers = await digits.predictBatch(images);
    for (const [row, expected] of scores.entries())
      for (const [digit, score] of expected.entries())
        expect(Math.abs((answers[row]?.[digit] ?? Number.NaN) - score)).toBeLessThan(1e-5);
    const engine = await Engine.connect(undefined);
    const [container] = await engine.containers({ "windjammer.model": "digits-tensorflow" });
    const image = await inspect("{{.Image}}", container?.id ?? "");
    const above = Number(await inspect("{{.Size}}", image)) - Number(await inspect("{{.Size}}", BASE_IMAGE));
    expect(above / 2 ** 20).toBeLessThan(40);
  });
});
