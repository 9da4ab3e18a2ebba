// Frontends that are killed, and two of them on one engine.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { connect } from "windjammer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Engine } from "../../core/runtimes/engine.ts";
import { infer, ready } from "../conformance/replica-client.ts";
import { dockerBench } from "./bench.ts";
import { BASE_IMAGE, hasEngine, isRunning } from "./engine.ts";

const PROGRAM = fileURLToPath(new URL("frontend-program.ts", import.meta.url));
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "windjammer-takeover-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

interface Frontend {
  readonly child: ChildProcess;
  readonly queryUrl: string;
  readonly adminUrl: string;
}

async function frontend(): Promise<Frontend> {
  const args = ["--conditions=windjammer-source", PROGRAM, join(folder, "state"), BASE_IMAGE];
  const child = spawn("node", args, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface(child.stdout)) {
    const urls = JSON.parse(line) as { queryUrl: string; adminUrl: string };
    return { child, ...urls };
  }
  throw new Error("the frontend ended before it was up");
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = once(child, "exit");
  child.kill(signal);
  await gone;
}

async function handlesOf({ adminUrl }: Frontend): Promise<readonly string[]> {
  await using wj = await connect(adminUrl);
  return (await wj.replicas())
    .filter(({ state }) => state === "ready")
    .map(({ handle }) => handle)
    .toSorted();
}

describe.skipIf(!hasEngine)("a frontend on an engine", () => {
  it("that is killed leaves its containers to the next one, which serves from them at once", async () => {
    const first = await frontend();
    const containers = await handlesOf(first);
    expect(containers).toHaveLength(2);
    await end(first.child, "SIGKILL");
    for (const container of containers) expect(await isRunning(container)).toBe(true);

    const second = await frontend();
    const upAt = performance.now();
    const ask = async (): Promise<unknown> => {
      const reply = await fetch(`${second.queryUrl}/model/predict`, { method: "POST", body: `{"input":7}` });
      return ((await reply.json()) as { output?: unknown }).output;
    };
    await expect.poll(ask, { interval: 20 }).toEqual({ by: 1, input: 7 });
    console.log(`served ${Math.round(performance.now() - upAt)} ms after the restarted frontend was up`);
    await expect.poll(() => handlesOf(second)).toEqual(containers);

    await end(second.child, "SIGTERM");
    for (const container of containers) expect(await isRunning(container)).toBe(false);
  });

  it("replaces a container that somebody removed", async () => {
    await using bench = await dockerBench();
    const replica = await bench.start(`export const predict = (inputs) => inputs.map(() => 1);`);
    const engine = await Engine.connect(undefined);
    await engine.remove(replica.handle);
    expect((await replica.exited).reason).toBe("killed");
    expect(await bench.runtime.list()).toEqual([]);
  });

  it("starts a replica though somebody removed its image", async () => {
    await using bench = await dockerBench();
    const bundle = await bench.bundle(`export const predict = (inputs) => inputs.map(() => 2);`);
    const image = await bench.prepare(bundle);
    await (await Engine.connect(undefined)).removeImage(image);
    const replica = await bench.runtime.start({
      id: "bench-1-r9",
      model: "bench",
      version: "1",
      image,
      bundle,
      limits: { cpus: 1 },
    });
    await ready(replica);
    expect(await infer(replica, [[1]])).toEqual([2]);
  });

  it("does not touch the containers of another", async () => {
    await using one = await dockerBench({}, "owner-one");
    const replica = await one.start(`export const predict = (inputs) => inputs.map(() => 3);`);
    {
      await using other = await dockerBench({}, "owner-two");
      expect(await other.runtime.list()).toEqual([]);
    }
    expect(await infer(replica, [[1]])).toEqual([3]);
  });
});
