// TensorFlow models in containers: on WebAssembly, and natively where there is a tfjs-node whose archives can be served.
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import type { DockerOptions } from "../../core/runtimes/docker/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { deployTensorFlowModel, windjammer, type TensorFlowOptions } from "../../deployers/index.ts";
import { hasTfjsNode, TFJS_NODE_FOLDER } from "../helpers/tfjs-node.ts";
import { BASE_IMAGE, hasEngine, testDocker } from "./engine.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/", import.meta.url));

interface Cases {
  readonly images: readonly number[][][][];
  readonly scores: readonly (readonly number[])[];
}

/** Deploys the digits network in a container; megabytes that its image has above the base. */
async function deployDigits(model: TensorFlowOptions, options: DockerOptions = {}): Promise<number> {
  const { images, scores } = JSON.parse(await readFile(join(DIGITS, "digits-cases.json"), "utf8")) as Cases;
  await using wj = await windjammer({ port: 0, adminPort: 0, runtime: testDocker(options) });
  const name = "digits-tensorflow";
  const digits = await deployTensorFlowModel<number[][][], number[]>(wj, {
    ...model,
    name,
    version: "1",
    outputs: ["scores"],
    latencyObjectiveMs: 5000,
  });
  const answers = await digits.predictBatch(images);
  for (const [row, expected] of scores.entries())
    for (const [digit, score] of expected.entries())
      expect(Math.abs((answers[row]?.[digit] ?? Number.NaN) - score)).toBeLessThan(1e-5);
  const run = promisify(execFile);
  const inspect = async (format: string, id: string): Promise<string> =>
    (await run("docker", ["inspect", "--format", format, id])).stdout.trim();
  const [container] = await (await Engine.connect(undefined)).containers({ "windjammer.model": name });
  const image = await inspect("{{.Image}}", container?.id ?? "");
  const above = Number(await inspect("{{.Size}}", image)) - Number(await inspect("{{.Size}}", BASE_IMAGE));
  return above / 2 ** 20;
}

describe.skipIf(!hasEngine)("the digits network in a container", () => {
  it("answers on WebAssembly, from an image with nothing native and without source maps", async () => {
    const size = await deployDigits({ model: join(DIGITS, "tfjs"), backend: "wasm" });
    console.log("WASM", size);
  });
});
