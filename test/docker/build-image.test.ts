// Building images without a server: what is made, what is said, what is left.
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  buildImage,
  container,
  deployOnnxModel,
  functionDeployer,
  ImageBuildError,
  InvalidOptionsError,
  onnx,
  tensorflow,
  UnsupportedModelError,
  windjammer,
} from "../../deployers/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { processRuntime } from "../../core/runtimes/process/index.ts";
import { hasEngine, testDocker } from "./engine.ts";
import { template } from "./foreign-template.ts";
import { hasRegistry, LOGIN, Registry } from "./registry.ts";

const DIGITS = join(import.meta.dirname, "../../examples/digits");
const ONNX = { name: "built-digits", version: "1", model: join(DIGITS, "digits.onnx") };
const SUM = {
  name: "built-sum",
  version: "1",
  module: join(DIGITS, "../functions/sum.ts"),
  export: "sum",
  inputType: "doubles",
} as const;

describe.skipIf(!hasEngine)("an image that is only built", () => {
  const images: string[] = [];

  afterEach(async () => {
    const engine = await Engine.connect(undefined);
    for (const image of images.splice(0)) await engine.removeImage(image);
  });

  it("is told step by step, runs nowhere, and is what a deployment of the same model finds", async () => {
    const engine = await Engine.connect(undefined);
    const said: string[] = [];
    const built = await buildImage(
      onnx,
      { ...ONNX, onEvent: ({ step, message }) => said.push(`${step} ${message}`) },
      testDocker(),
    );
    images.push(built.image);
    expect(built).toEqual({ image: expect.stringMatching(/^windjammer\/built-digits:1-\w{12}$/) });
    expect(said[0]).toBe("receive bundling with the onnx deployer");
    expect(said.some((line) => /^prepare step \d+\/\d+/.test(line))).toBe(true);
    expect((await engine.findImage(built.image))?.labels).toMatchObject({ "windjammer.model": ONNX.name });
    expect(await engine.containers({ "windjammer.model": ONNX.name })).toEqual([]);

    await using wj = await windjammer({ port: 0, adminPort: 0, runtime: testDocker() });
    said.length = 0;
    await deployOnnxModel(wj, { ...ONNX, onEvent: ({ message }) => said.push(message) });
    expect(said).toContain(`image ${built.image} is there already`);
  });

  it("can be of every deployer whose model has an image", async () => {
    const models = [
      await buildImage(functionDeployer, SUM, testDocker()),
      await buildImage(
        tensorflow,
        { name: "built-tf", version: "1", model: join(DIGITS, "tfjs/model.json") },
        testDocker(),
      ),
      await buildImage(
        container,
        { name: "built-own", version: "1", dockerfile: await template() },
        testDocker(),
      ),
    ];
    images.push(...models.map(({ image }) => image));
    expect(models.map(({ image }) => image.replace(/:.*/, ""))).toEqual([
      "windjammer/built-sum",
      "windjammer/built-tf",
      "windjammer/built-own",
    ]);
  });

  it.skipIf(!hasRegistry)("is pushed where that is asked for, and its digest is told", async () => {
    await using registry = await Registry.start({ hasLogin: true });
    const push = { repository: `${registry.address}/models`, ...LOGIN };
    const { image, pushed } = await buildImage(functionDeployer, SUM, testDocker({ push }));
    const [name = "", tag = ""] = image.replace("windjammer/", "models/").split(":");
    expect(pushed).toEqual({
      image: `${registry.address}/${name}:${tag}`,
      digest: await registry.digestOf(name, tag),
    });
    images.push(image, pushed?.image ?? "");
  });

  it("that cannot be says why", async () => {
    const broken = testDocker({ baseImage: "windjammer-test-nowhere:1", pull: "never" });
    await expect(buildImage(functionDeployer, SUM, broken)).rejects.toThrow(ImageBuildError);
    const cancelled = buildImage(
      functionDeployer,
      { ...SUM, signal: AbortSignal.abort(new Error("no more")) },
      testDocker(),
    );
    await expect(cancelled).rejects.toThrow("no more");
  });
});

it("no image is built of a server elsewhere, or by a runtime that has none", async () => {
  const remote = { name: "far", version: "1", url: "http://127.0.0.1:1" };
  await expect(buildImage(container, remote, testDocker())).rejects.toThrow(UnsupportedModelError);
  const failure = buildImage(functionDeployer, SUM, processRuntime());
  await expect(failure).rejects.toThrow(InvalidOptionsError);
  await expect(failure).rejects.toThrow("the process runtime makes no images");
});
