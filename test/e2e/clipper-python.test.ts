// Clipper's Python containers as processes of their own, over pyzmq: they serve every input type, are killed in the middle
// of a batch, take longer than a heartbeat lasts, and come back.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { type ClipperLab, openClipper } from "../helpers/clipper-server.ts";

const CONTAINER = fileURLToPath(new URL("../fixtures/clipper/container.py", import.meta.url));
const run = promisify(execFile);

const folder = await mkdtemp(join(tmpdir(), "wj-pyzmq-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Installs pyzmq into a folder of its own, unless it is there. */
async function hasZmq(): Promise<boolean> {
  const env = { ...process.env, PYTHONPATH: folder };
  const works = (): Promise<boolean> =>
    run("python3", ["-c", "import zmq"], { env }).then(
      () => true,
      () => false,
    );
  if (await works()) return true;
  const install = ["-m", "pip", "install", "--quiet", "--target", folder, "pyzmq"];
  await run("python3", install, { timeout: 200_000 }).catch(() => undefined);
  return works();
}

interface Started {
  readonly child: ChildProcess;
  /** All that it wrote. */
  readonly output: () => string;
}

function start(lab: ClipperLab, name: string, environment: Record<string, string> = {}): Started {
  const port = /\d+$/.exec(lab.server.clipper?.rpcEndpoint ?? "")?.[0] ?? "";
  const child = spawn("python3", [CONTAINER], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      PYTHONPATH: folder,
      CLIPPER_MODEL_NAME: name,
      CLIPPER_MODEL_VERSION: "1",
      CLIPPER_IP: "127.0.0.1",
      CLIPPER_PORT: port,
      ...environment,
    },
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += String(chunk)));
  child.stderr.on("data", (chunk: Buffer) => (text += String(chunk)));
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return { child, output: () => text };
}

const isThere = await hasZmq();

describe.skipIf(!isThere)("Python containers of Clipper's (skipped without Python and pyzmq)", () => {
  test.each([
    ["integers", [1, -2, 2 ** 31 - 1], "2147483646.0"],
    ["floats", [0.5, 0.25], "0.75"],
    ["doubles", [0.5, 1e15], "1000000000000000.5"],
    ["strings", "käse 💥", '"käse 💥"'],
    ["bytes", Buffer.from('{"a": 1.0}').toString("base64"), '{"a": 1.0}'],
  ])("serve %s", async (inputType, input, expected) => {
    const lab = await openClipper();
    await lab.register("app", inputType);
    start(lab, "app", { CLIPPER_INPUT_TYPE: inputType });
    await lab.untilContainers(1);
    const reply = await lab.query("/app/predict", { input });
    expect(reply).toBe(`200 {"query_id":1,"output":${expected},"default":false}`);
    const list = await lab.query("/app/predict", { input_batch: [input, input, input] });
    expect(list.match(/"default":false/g)).toHaveLength(3);
  });

  test("a container whose model raises ends; its query goes to another one, and the next one too", async () => {
    const lab = await openClipper();
    await lab.register("app", "doubles");
    const { child, output } = start(lab, "app", { MODEL: "raise" });
    await lab.untilContainers(1);
    start(lab, "app");
    await lab.untilContainers(2);
    const replies = await Promise.all([1, 2, 3, 4].map((x) => lab.query("/app/predict", { input: [x] })));
    for (const [index, reply] of replies.entries()) expect(reply).toContain(`"output":${index + 1}.0,`);
    if (child.exitCode === null) await once(child, "exit");
    expect(output()).toContain("this model raises");
    await lab.untilContainers(1);
  });

  test("a container that is killed with a batch, and has no other beside it, is named", async () => {
    const lab = await openClipper();
    await lab.register("app", "doubles");
    start(lab, "app", { MODEL: "die" });
    await lab.untilContainers(1);
    expect(await lab.query("/app/predict", { input: [1] })).toMatch(
      /"default_explanation":"replica app-1-r1 closed its connection[^"]*","default_reason":"replica-lost"/,
    );
    await lab.untilContainers(0);
    start(lab, "app");
    await lab.untilContainers(1);
    expect(await lab.query("/app/predict", { input: [7] })).toContain('"output":7.0,');
  });

  test("a batch may take longer than 30 s without a word: the replica stays, and its answer counts", async () => {
    const lab = await openClipper();
    await lab.register("app", "doubles", { sloMicros: 60_000_000 });
    const { output } = start(lab, "app", { MODEL: "slow", SLOW_SECONDS: "33" });
    await lab.untilContainers(1);
    expect(await lab.query("/app/predict", { input: [2] })).toContain('"output":2.0,');
    expect(await lab.admin("get_all_containers", { verbose: false })).toBe('200 ["app:1:1"]');
    expect(output().match(/sent metadata/g)).toHaveLength(1);
  });
});
