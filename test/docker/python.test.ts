// Python models on the Docker runtime: an image with exactly their packages, rebuilt where it has to be.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PackageNotFoundError } from "../../core/errors.ts";
import { LABEL } from "../../core/runtimes/docker/labels.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { deployPython, windjammer } from "../../deployers/index.ts";
import { wheelName, wheelOf } from "../e2e/python-index.ts";
import { pythonFunction } from "../helpers/python.ts";
import { writeFiles } from "../helpers/project.ts";
import { tempFolder } from "../helpers/temp.ts";
import { dockerBench } from "./bench.ts";
import { PYTHON_BASE, pythonBase } from "./default-images.ts";
import { hasEngine, testDocker } from "./engine.ts";

const PREDICT = `import os

import alpha

def load_model(dir):
    with open(os.path.join(dir, "weights.bin")) as file:
        return file.read()

def predict(model, inputs):
    if "fail" in inputs:
        raise ValueError("this one fails")
    return [[alpha.VERSION, model, each, os.getuid()] for each in inputs]
`;

async function modelFolder(weights: string, requirements = "alpha==1.0\n"): Promise<string> {
  const folder = await tempFolder();
  await writeFiles(folder, {
    "predict.py": PREDICT,
    "requirements.txt": requirements,
    "weights.bin": weights,
  });
  await writeFiles(folder, { "wheels/readme.txt": "wheels that no index has" });
  const wheel = { name: "alpha", version: "1.0" };
  await writeFile(join(folder, "wheels", wheelName(wheel)), wheelOf(wheel));
  return folder;
}

describe.skipIf(!hasEngine)("a Python model in a container", () => {
  beforeAll(async () => {
    await pythonBase();
  });

  afterAll(async () => {
    const engine = await Engine.connect(undefined);
    for (const { tags } of await engine.images({ [LABEL.model]: "contained" }))
      for (const tag of tags) await engine.removeImage(tag);
  });

  it("has its packages, runs as nobody's root, fails a bad row alone; a retrain rebuilds only its weights", async () => {
    await using wj = await windjammer({
      port: 0,
      adminPort: 0,
      runtime: testDocker({ pythonBaseImage: PYTHON_BASE }),
    });
    const steps: string[] = [];
    const options = {
      name: "contained",
      onEvent: ({ message }: { readonly message: string }) => steps.push(message),
    };
    const model = await deployPython(wj, { ...options, version: "1", folder: await modelFolder("old") });
    const uid = process.getuid?.() === 0 ? expect.any(Number) : 1000;
    expect(await model.predict("x")).toEqual(["1.0", "old", "x", uid]);
    const [good, bad] = await model.predictDetailed(["y", "fail"]);
    expect(good).toMatchObject({ output: ["1.0", "old", "y", uid] });
    expect((bad as { readonly error: Error }).error.message).toContain(
      "ValueError: this one fails (predict.py, line 11)",
    );

    steps.length = 0;
    const retrained = await deployPython(wj, { ...options, version: "2", folder: await modelFolder("new") });
    expect(await retrained.predict("x")).toEqual(["1.0", "new", "x", uid]);
    const builds = steps.filter((line) => line.startsWith("step "));
    expect(builds.find((line) => line.includes("pip"))).toContain("(cached)");
    expect(builds.find((line) => line.includes("COPY code/"))).toContain("(cached)");
    expect(builds.find((line) => line.includes("COPY weights/"))).not.toContain("(cached)");
  });

  it("is not built with a package that does not exist: the error names it and the step", async () => {
    await using bench = await dockerBench({
      pythonBaseImage: PYTHON_BASE,
      // An index that is empty, in place of one that no build can reach.
      buildArgs: { PIP_INDEX_URL: "file:///nowhere" },
    });
    const bundle = await bench.bundle("", pythonFunction());
    await writeFiles(bundle.files, { "predict.py": PREDICT, "requirements.txt": "no-such-package==1.0\n" });
    const error = await bench.prepare(bundle).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect((error as Error).message).toMatch(/no-such-package==1\.0 .* step \d+\/\d+ \(RUN /);
  });
});
