// The life of a Python model container: start, drain, ends, memory limit, death of its parent.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { EXIT_OUT_OF_MEMORY } from "../../../containers/protocol.ts";
import {
  type BundleOnDisk,
  jsonFunction,
  jsonTensor,
  TestContainer,
  writeBundle,
} from "../../helpers/container.ts";
import { isRunning } from "../../helpers/processes.ts";
import { pythonBundle, pythonRuns, pythonServer } from "../../helpers/python.ts";

const ECHO = "def predict(model, inputs):\n    return inputs\n";
const SERVER = pythonServer();

function spawned(bundle: BundleOnDisk, environment: Readonly<Record<string, string>> = {}): TestContainer {
  return TestContainer.spawn(bundle, environment, SERVER);
}

function started(
  bundle: BundleOnDisk,
  environment: Readonly<Record<string, string>> = {},
): Promise<TestContainer> {
  return TestContainer.start(bundle, environment, SERVER);
}

describe("start", () => {
  test("is live but not ready while the model loads", async () => {
    await using bundle = await pythonBundle(`import os, time
print("loading")
while not os.path.exists(os.path.join(os.path.dirname(__file__), "loaded")):
    time.sleep(0.005)
${ECHO}`);
    await using container = spawned(bundle);
    await container.said("loading");
    expect((await container.get("/v2/health/live")).status).toBe(200);
    const ready = await container.get("/v2/health/ready");
    expect(ready.status).toBe(503);
    expect(ready.json()).toEqual({ ready: false, error: "model m is still loading" });
    expect((await container.get("/v2/models/m/ready")).status).toBe(503);
    expect((await container.inferRaw([jsonTensor("input", [1])])).status).toBe(503);
    await writeFile(join(bundle.files, "loaded"), "");
    await container.said("is ready on");
    expect((await container.get("/v2/health/ready")).json()).toEqual({ ready: true });
  });

  test("replaces the socket that a killed container left, and leaves other files alone", async () => {
    await using bundle = await pythonBundle(ECHO);
    const first = await started(bundle);
    await first[Symbol.asyncDispose]();
    expect(existsSync(first.socketPath)).toBe(true);
    {
      await using second = await started(bundle);
      expect(await second.predict([1])).toEqual([1]);
    }
    await rm(first.socketPath);
    await writeFile(first.socketPath, "mine");
    await using third = spawned(bundle);
    expect(await third.exited).toEqual({ code: 1, signal: null });
    expect(third.stderr).toMatch(/cannot listen on .*EADDRINUSE/);
    expect(existsSync(first.socketPath)).toBe(true);
  });

  test("listens on a port where no socket is given, and names one that is in use", async () => {
    await using bundle = await pythonBundle(ECHO);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const environment = { WINDJAMMER_SOCKET: "", WINDJAMMER_HOST: "127.0.0.1" };
    await using refused = spawned(bundle, { ...environment, PORT: `${port}` });
    expect(await refused.exited).toEqual({ code: 1, signal: null });
    expect(refused.stderr).toContain(`cannot listen on 127.0.0.1:${port}`);
    await new Promise((resolve) => taken.close(resolve));
    await using container = await started(bundle, { ...environment, PORT: "0" });
    const [, address] = /is ready on (\S+)/.exec(container.stderr) ?? [];
    expect(await (await fetch(`http://${address}/v2/health/ready`)).json()).toEqual({ ready: true });
  });

  test.each([
    ["WINDJAMMER_THREADS", "many"],
    ["PORT", "99999999"],
    ["WINDJAMMER_MEMORY_LIMIT_MB", "-1"],
  ])("names a variable that is wrong: %s=%s", async (name, value) => {
    await using bundle = await pythonBundle(ECHO);
    await using container = spawned(bundle, { [name]: value });
    expect(await container.exited).toEqual({ code: 1, signal: null });
    expect(container.stderr).toContain(`${name} is "${value}"`);
  });

  test("names a manifest that is missing, of another format, or for another container", async () => {
    await using bundle = await pythonBundle(ECHO);
    await rm(join(bundle.files, "manifest.json"));
    await using missing = spawned(bundle);
    await missing.exited;
    expect(missing.stderr).toContain("cannot read the bundle's manifest");
    await writeFile(join(bundle.files, "manifest.json"), '{"format":9}');
    await using unknown = spawned(bundle);
    expect(await unknown.exited).toEqual({ code: 1, signal: null });
    expect(unknown.stderr).toContain("format 9 is not known");
    await using forNode = await writeBundle(jsonFunction(), {});
    await using other = spawned(forNode);
    expect(await other.exited).toEqual({ code: 1, signal: null });
    expect(other.stderr).toContain('the bundle needs a container of kind "node"');
  });

  const old = ["python2.7", "python3.7", "python3.8"].find((python) => pythonRuns(python, "pass"));

  test.skipIf(old === undefined)("says so where Python is too old (skipped without such a one)", async () => {
    await using bundle = await pythonBundle(ECHO);
    const [, , , entry = ""] = pythonServer();
    await using container = TestContainer.spawn(bundle, {}, [old ?? "", entry]);
    expect((await container.exited).code).toBe(1);
    expect(container.stderr).toContain("need Python 3.9 or newer");
  });
});

describe("every Python from 3.9 on", () => {
  for (const python of ["python3.9", "python3.10", "python3.12", "python3.13", "python3.14"]) {
    test.skipIf(!pythonRuns(python, "pass"))(`serves (skipped without ${python})`, async () => {
      await using bundle = await pythonBundle(
        "def predict(model, inputs):\n    return [[x * 2 for x in row] for row in inputs]\n",
      );
      await using container = await TestContainer.start(bundle, {}, pythonServer(python));
      expect(await container.predict([[1, 2.5], []])).toEqual([[2, 5], []]);
      container.process.kill("SIGTERM");
      expect(await container.exited).toEqual({ code: 0, signal: null });
    });
  }
});

describe("SIGTERM", () => {
  const SLOW = `import os, time

def predict(model, inputs):
    print("computing")
    while not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
        time.sleep(0.005)
    return inputs
`;
  const HANGS = `def predict(model, inputs):
    print("computing")
    while True:
        pass
`;

  test("ends an idle container with code 0, its connections and its socket", async () => {
    await using bundle = await pythonBundle(`import atexit\natexit.register(print, "cleaned up")\n${ECHO}`);
    await using container = await started(bundle);
    await container.predict([1]);
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 0, signal: null });
    expect(existsSync(container.socketPath)).toBe(false);
    expect(container.stdout).toContain("cleaned up");
  });

  test("lets the running call finish, also one that waits behind it", async () => {
    await using bundle = await pythonBundle(SLOW);
    await using container = await started(bundle);
    const running = container.predict([1]);
    await container.said("computing");
    const waiting = container.predict([2]);
    await container.get("/v2/health/live");
    container.process.kill("SIGTERM");
    await expect.poll(() => existsSync(container.socketPath)).toBe(false);
    await writeFile(join(bundle.files, "go"), "");
    expect(await running).toEqual([1]);
    expect(await waiting).toEqual([2]);
    expect(await container.exited).toEqual({ code: 0, signal: null });
  });

  test("a second one ends it at once", async () => {
    await using bundle = await pythonBundle(HANGS);
    await using container = await started(bundle);
    const lost = container.predict([1]);
    lost.catch(() => {});
    await container.said("computing");
    container.process.kill("SIGTERM");
    await expect.poll(() => existsSync(container.socketPath)).toBe(false);
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 1, signal: null });
    await expect(lost).rejects.toThrow();
  });

  test("ends one that is still loading", async () => {
    await using bundle = await pythonBundle(`import time\nprint("loading")\ntime.sleep(60)\n${ECHO}`);
    await using container = spawned(bundle);
    await container.said("loading");
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 0, signal: null });
    expect(container.stderr).toContain("stopped before it was ready");
  });
});

describe("a model that ends its process", () => {
  test.each([
    ["sys.exit(7)", 7, "the model called sys.exit(7)"],
    ["sys.exit()", 0, "the model called sys.exit()"],
    ["sys.exit('enough')", 1, "the model called sys.exit('enough')"],
  ])("by %s leaves its reason as the last line", async (code, exitCode, message) => {
    await using bundle = await pythonBundle(`import sys

def predict(model, inputs):
    print("last words")
    ${code}
`);
    await using container = await started(bundle);
    const lost = container.predict([1]);
    lost.catch(() => {});
    expect(await container.exited).toEqual({ code: exitCode, signal: null });
    expect(container.stdout).toContain("last words");
    expect(container.stderr.trim().split("\n").at(-1)).toBe(`windjammer: ${message}`);
    await expect(lost).rejects.toThrow();
  });

  test("by a crash of native code leaves the Python line that led there", async () => {
    await using bundle = await pythonBundle(`import ctypes

def predict(model, inputs):
    ctypes.string_at(0)
`);
    await using container = await started(bundle);
    const lost = container.predict([1]);
    lost.catch(() => {});
    expect(await container.exited).toEqual({ code: null, signal: "SIGSEGV" });
    expect(container.stderr).toMatch(/Segmentation fault[\s\S]*predict\.py", line 4 in predict/);
  });
});

describe("memory limit", () => {
  test.each([
    ["lists", "kept.append([object() for _ in range(10_000)])"],
    ["native buffers", "kept.append(bytearray(8_000_000))"],
  ])("%s that grow end the container", async (_, grow) => {
    await using bundle = await pythonBundle(`kept = []

def predict(model, inputs):
    while True:
        ${grow}
`);
    await using container = await started(bundle, { WINDJAMMER_MEMORY_LIMIT_MB: "160" });
    container.predict([1]).catch(() => {});
    expect(await container.exited).toEqual({ code: EXIT_OUT_OF_MEMORY, signal: null });
    expect(container.stderr.trim().split("\n").at(-1)).toMatch(
      /windjammer: out of memory: \d+ MiB resident, limit 160 MiB/,
    );
  });
});

describe("callers and parents that go", () => {
  test("a caller that goes ends the search for a bad row, and its call if it waits", async () => {
    await using bundle = await pythonBundle(`import time

calls = 0

def predict(model, inputs):
    global calls
    if inputs == ["calls"]:
        return [calls]
    calls += 1
    print("call", calls)
    time.sleep(0.1)
    raise ValueError("slow and bad")
`);
    await using container = await started(bundle);
    const rows = Array.from({ length: 64 }, () => "0");
    const text = JSON.stringify({ inputs: [{ name: "input", datatype: "BYTES", shape: [64], data: rows }] });
    const socket = connect(container.socketPath);
    socket.write(
      `POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    );
    await container.said("call 2");
    socket.destroy();
    const [calls] = await container.predict(["calls"]);
    // All of them would be 127, and take 12 s.
    expect(calls).toBeLessThan(127);
  });

  test("the search for a bad row ends at the deadline", async () => {
    await using bundle = await pythonBundle(`import time

def predict(model, inputs):
    time.sleep(0.1)
    raise ValueError("slow and bad")
`);
    await using container = await started(bundle);
    const { errors } = await container.infer(
      [
        jsonTensor(
          "input",
          Array.from({ length: 64 }, () => 0),
        ),
      ],
      {
        "windjammer-deadline-ms": "3000",
      },
    );
    expect(errors.at(-1)?.message).toBe("The deadline has passed before this input could run");
  });

  test("the parent's end ends the container, even when the model hangs", async () => {
    await using bundle = await pythonBundle(
      'def predict(model, inputs):\n    print("computing")\n    while True:\n        pass\n',
    );
    const socket = join(bundle.root, "s");
    const [file, ...args] = SERVER;
    // The parent starts the container with a pipe as its standard input and then does nothing.
    const parent = spawn(
      process.execPath,
      [
        "-e",
        `const child = require("node:child_process").spawn(${JSON.stringify(file)}, ${JSON.stringify(args)}, { stdio: ["pipe", "inherit", "inherit"] });
         process.stdout.write("pid " + child.pid + "\\n");`,
      ],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          PATH: process.env["PATH"],
          HOME: process.env["HOME"],
          WINDJAMMER_SOCKET: socket,
          WINDJAMMER_MODEL_DIR: bundle.files,
          WINDJAMMER_EXIT_WITH_PARENT: "1",
        },
      },
    );
    let log = "";
    const collect = (text: string): void => void (log += text);
    parent.stdout.setEncoding("utf8").on("data", collect);
    parent.stderr.setEncoding("utf8").on("data", collect);
    await expect.poll(() => log).toContain("is ready on");
    const pid = Number(/pid (\d+)/.exec(log)?.[1]);
    const caller = connect(socket);
    const text = JSON.stringify({ inputs: [{ name: "input", datatype: "BYTES", shape: [1], data: ["1"] }] });
    caller.write(
      `POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    );
    caller.on("error", () => {});
    await expect.poll(() => log).toContain("computing");
    parent.kill("SIGKILL");
    await expect.poll(() => isRunning(pid)).toBe(false);
    caller.destroy();
  });
});
