// The life of a model container: start, drain, crashes, memory limit, death of its parent.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { EXIT_OUT_OF_MEMORY } from "../../containers/protocol.ts";
import {
  functionBundle,
  jsonFunction,
  jsonTensor,
  TestContainer,
  writeBundle,
} from "../helpers/container.ts";
import { isRunning } from "../helpers/processes.ts";

const ECHO = "export const predict = (inputs) => inputs;";

describe("start", () => {
  test("is live but not ready while the model loads", async () => {
    await using bundle = await functionBundle(`import { existsSync } from "node:fs";
      console.log("loading");
      while (!existsSync(new URL("loaded", import.meta.url))) await new Promise((done) => setTimeout(done, 5));
      ${ECHO}`);
    await using container = TestContainer.spawn(bundle);
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

  test("replaces the socket that a killed container left", async () => {
    await using bundle = await functionBundle(ECHO);
    const first = await TestContainer.start(bundle);
    await first[Symbol.asyncDispose]();
    expect(existsSync(first.socketPath)).toBe(true);
    await using second = await TestContainer.start(bundle);
    expect(await second.predict([1])).toEqual([1]);
  });

  test("leaves a file alone that is not a socket, and says so", async () => {
    await using bundle = await functionBundle(ECHO);
    await writeFile(join(bundle.root, "s"), "mine");
    await using container = TestContainer.spawn(bundle);
    expect(await container.exited).toEqual({ code: 1, signal: null });
    expect(container.stderr).toMatch(/cannot listen on .*EADDRINUSE/);
    expect(existsSync(join(bundle.root, "s"))).toBe(true);
  });

  test("listens on a port where no socket is given, and names one that is in use", async () => {
    await using bundle = await functionBundle(ECHO);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const environment = { WINDJAMMER_SOCKET: "", WINDJAMMER_HOST: "127.0.0.1" };
    await using refused = TestContainer.spawn(bundle, { ...environment, PORT: `${port}` });
    expect(await refused.exited).toEqual({ code: 1, signal: null });
    expect(refused.stderr).toContain(`cannot listen on 127.0.0.1:${port}`);
    await new Promise((resolve) => taken.close(resolve));
    await using container = await TestContainer.start(bundle, { ...environment, PORT: "0" });
    const [, address] = /is ready on (\S+)/.exec(container.stderr) ?? [];
    const reply = await fetch(`http://${address}/v2/health/ready`);
    expect(await reply.json()).toEqual({ ready: true });
  });

  test("names a variable that is wrong", async () => {
    await using bundle = await functionBundle(ECHO);
    await using container = TestContainer.spawn(bundle, { WINDJAMMER_THREADS: "many" });
    expect(await container.exited).toEqual({ code: 1, signal: null });
    expect(container.stderr).toContain('WINDJAMMER_THREADS is "many"');
  });

  test("names a loader that is not there, and those that are", async () => {
    for (const loader of ["tensorflow-v9", "../function"]) {
      await using bundle = await writeBundle(jsonFunction({ loader }), { "function.mjs": ECHO });
      await using container = TestContainer.spawn(bundle);
      expect(await container.exited).toEqual({ code: 1, signal: null });
      expect(container.stderr).toContain(
        `the bundle needs loader "${loader}"; this container has: function, onnx`,
      );
    }
  });

  test("names a manifest that is missing or of another format", async () => {
    await using bundle = await functionBundle(ECHO);
    await rm(join(bundle.files, "manifest.json"));
    await using missing = TestContainer.spawn(bundle);
    await missing.exited;
    expect(missing.stderr).toContain("cannot read the bundle's manifest");
    await writeFile(join(bundle.files, "manifest.json"), '{"format":9}');
    await using unknown = TestContainer.spawn(bundle);
    expect(await unknown.exited).toEqual({ code: 1, signal: null });
    expect(unknown.stderr).toContain("format 9 is not known");
  });
});

describe("SIGTERM", () => {
  const SLOW = `import { existsSync } from "node:fs";
  const go = new URL("go", import.meta.url);
  export const predict = async (inputs) => {
    console.log("computing");
    while (!existsSync(go)) await new Promise((resolve) => setTimeout(resolve, 5));
    return inputs;
  };`;

  test("ends an idle container with code 0, its connections and its socket", async () => {
    await using bundle = await functionBundle(ECHO);
    await using container = await TestContainer.start(bundle);
    await container.predict([1]);
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 0, signal: null });
    expect(existsSync(container.socketPath)).toBe(false);
  });

  test("lets the running call finish, also one that waits behind it", async () => {
    await using bundle = await functionBundle(SLOW);
    await using container = await TestContainer.start(bundle);
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
    await using bundle = await functionBundle(
      'export const predict = () => { console.log("computing"); while (true); };',
    );
    await using container = await TestContainer.start(bundle);
    const lost = container.predict([1]);
    lost.catch(() => {});
    await container.said("computing");
    container.process.kill("SIGTERM");
    await expect.poll(() => existsSync(container.socketPath)).toBe(false);
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 1, signal: null });
    await expect(lost).rejects.toThrow();
  });

  test("a second one kills it where native code keeps it busy", async () => {
    // The shell itself says it: by then the thread is in native code, which a word before the call cannot promise.
    await using bundle = await functionBundle(`import { execFileSync } from "node:child_process";
      const script = "echo computing; exec sleep 20 >/dev/null 2>&1";
      export const predict = () => execFileSync("sh", ["-c", script], { stdio: ["ignore", "inherit", "inherit"] });`);
    await using container = await TestContainer.start(bundle);
    container.predict([1]).catch(() => {});
    await container.said("computing");
    container.process.kill("SIGTERM");
    await expect.poll(() => existsSync(container.socketPath)).toBe(false);
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("ends one that is still loading", async () => {
    await using bundle = await functionBundle(
      `console.log("loading"); await new Promise(() => setInterval(() => {}, 1000)); ${ECHO}`,
    );
    await using container = TestContainer.spawn(bundle);
    await container.said("loading");
    container.process.kill("SIGTERM");
    expect(await container.exited).toEqual({ code: 0, signal: null });
  });
});

describe("a model that ends its process", () => {
  test.each([
    ["process.exit(7)", 7, "the model called process.exit(7)"],
    ["process.exit()", 0, "the model called process.exit(0)"],
    [
      "setTimeout(() => { throw new RangeError('later'); })",
      1,
      "the model threw outside a predict call: RangeError: later",
    ],
    ["Promise.reject(new Error('unhandled'))", 1, "the model threw outside a predict call: Error: unhandled"],
  ])("by %s leaves its reason as the last line", async (code, exitCode, message) => {
    await using bundle = await functionBundle(`export const predict = async (inputs) => {
      console.log("last words");
      ${code};
      await new Promise((resolve) => setTimeout(resolve, 5000));
    };`);
    await using container = await TestContainer.start(bundle);
    const lost = container.predict([1]);
    lost.catch(() => {});
    expect(await container.exited).toEqual({ code: exitCode, signal: null });
    expect(container.stdout).toContain("last words");
    expect(container.stderr.trim().split("\n").at(-1)).toBe(`windjammer: ${message}`);
    await expect(lost).rejects.toThrow();
  });

  test("while it loads leaves its reason too", async () => {
    await using bundle = await functionBundle(`process.exit(3); ${ECHO}`);
    await using container = TestContainer.spawn(bundle);
    expect(await container.exited).toEqual({ code: 3, signal: null });
    expect(container.stderr).toContain("the model called process.exit(3)");
  });
});

describe("memory limit", () => {
  test("a heap that grows ends the container", async () => {
    await using bundle = await functionBundle(`const kept = [];
      export const predict = () => { while (true) kept.push(Array.from({ length: 1000 }, (_, i) => ({ i }))); };`);
    await using container = await TestContainer.start(bundle, { WINDJAMMER_MEMORY_LIMIT_MB: "160" });
    container.predict([1]).catch(() => {});
    expect(await container.exited).toEqual({ code: EXIT_OUT_OF_MEMORY, signal: null });
    expect(container.stderr).toMatch(/out of memory: .*limit 160 MiB/);
  });

  test("leaves room for values that do not live long, and not more", async () => {
    await using bundle = await functionBundle(`import { resourceLimits } from "node:worker_threads";
      export const predict = (inputs) => inputs.map(() => resourceLimits.maxYoungGenerationSizeMb);`);
    await using container = await TestContainer.start(bundle, { WINDJAMMER_MEMORY_LIMIT_MB: "160" });
    expect(await container.predict([1])).toEqual([20]);
  });

  test("buffers that grow end the container", async () => {
    await using bundle = await functionBundle(`const kept = [];
      export const predict = async () => { while (true) { kept.push(Buffer.alloc(8e6, 1)); await new Promise(setImmediate); } };`);
    await using container = await TestContainer.start(bundle, { WINDJAMMER_MEMORY_LIMIT_MB: "200" });
    container.predict([1]).catch(() => {});
    expect(await container.exited).toEqual({ code: EXIT_OUT_OF_MEMORY, signal: null });
    expect(container.stderr).toMatch(/out of memory: \d+ MiB resident, limit 200 MiB/);
  });
});

describe("death of the parent", () => {
  const SERVER = fileURLToPath(new URL("../../containers/server.ts", import.meta.url));

  test("ends the container, even when the model hangs", async () => {
    await using bundle = await functionBundle(
      'export const predict = () => { console.log("computing"); while (true); };',
    );
    const socket = join(bundle.root, "s");
    // The parent starts the container with a pipe as its standard input and then does nothing.
    const parent = spawn(
      process.execPath,
      [
        "-e",
        `const child = require("node:child_process").spawn(process.execPath, [${JSON.stringify(SERVER)}], { stdio: ["pipe", "inherit", "inherit"] });
         process.stdout.write("pid " + child.pid + "\\n");`,
      ],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          PATH: process.env["PATH"],
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
    const { request } = await import("node:http");
    const call = request({ socketPath: socket, method: "POST", path: "/v2/models/model/infer" });
    call.on("error", () => {});
    call.end(JSON.stringify({ inputs: [{ name: "input", datatype: "BYTES", shape: [1], data: ["1"] }] }));
    await expect.poll(() => log).toContain("computing");
    parent.kill("SIGKILL");
    await expect.poll(() => isRunning(pid)).toBe(false);
  });
});
