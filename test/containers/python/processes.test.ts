// Python models that start processes of their own, or touch what the server relies on.
import { expect, test } from "vitest";
import { TestContainer } from "../../helpers/container.ts";
import { pythonBundle, pythonServer } from "../../helpers/python.ts";

const SERVER = pythonServer();

test.each(["fork", "spawn", "forkserver"])(
  "a pool of processes made by %s computes, is terminated, and the server serves on",
  async (method) => {
    await using bundle = await pythonBundle(
      `import multiprocessing
from squares import square

def predict(model, inputs):
    with multiprocessing.get_context("${method}").Pool(2) as pool:
        return pool.map(square, inputs)
`,
      {},
      { "squares.py": "def square(x):\n    return x * x\n" },
    );
    await using container = await TestContainer.start(bundle, {}, SERVER);
    expect(await container.predict([1, 2, 3])).toEqual([1, 4, 9]);
    expect(await container.predict([4])).toEqual([16]);
    expect((await container.get("/v2/health/ready")).json()).toEqual({ ready: true });
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 0, signal: null });
  },
);

test("a model that takes the standard streams away can be stopped", async () => {
  await using bundle = await pythonBundle(`import sys

def predict(model, inputs):
    sys.stdout = sys.stderr = None
    return inputs
`);
  await using container = await TestContainer.start(bundle, {}, SERVER);
  expect(await container.predict([1])).toEqual([1]);
  container.process.kill("SIGTERM");
  expect(await container.exited).toEqual({ code: 0, signal: null });
});
