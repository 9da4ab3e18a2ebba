// A worker process by itself, told things by a test in the place of the server's own process.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { FromWorker, ToWorker } from "../../../core/workers/messages.ts";
import { WorkerProcess } from "../../../core/workers/worker-process.ts";

const MAIN = join(import.meta.dirname, "../../../core/workers/main.ts");

const BEGIN: ToWorker = {
  kind: "begin",
  config: {
    maxBodyBytes: 1000,
    maxInputs: 10,
    requestTimeoutMs: 10_000,
    maxQueueLength: 10,
    vertex: undefined,
    logLevel: "silent",
  },
  count: 1,
  cacheParts: 1,
  turn: 0,
  serverUrl: "http://127.0.0.1:9",
  registry: [],
  versions: [],
};

function worker(): { readonly child: ChildProcess; readonly heard: FromWorker[] } {
  const child = fork(MAIN, [], { execArgv: [], serialization: "advanced" });
  onTestFinished(() => void child.kill("SIGKILL"));
  const heard: FromWorker[] = [];
  child.on("message", (message) => heard.push(message as FromWorker));
  return { child, heard };
}

test("what a worker is told while it begins is heard, in order: else it would serve an old state, and seem to hang", async () => {
  const { child, heard } = worker();
  await once(child, "message");
  const told: readonly ToWorker[] = [
    BEGIN,
    { kind: "registry", id: 1, changes: [] },
    { kind: "close", id: 2, model: "digits", version: "1", graceMs: 0 },
    { kind: "count", id: 3 },
  ];
  for (const message of told) child.send(message);
  const isDone = (): boolean => heard.some((message) => message.kind === "done" && message.id === 3);
  await expect.poll(isDone).toBe(true);
  const kinds = heard.filter(({ kind }) => kind !== "counts");
  expect(kinds.slice(0, 3)).toEqual([{ kind: "hello" }, { kind: "ready" }, { kind: "done", id: 1 }]);
  expect(kinds).toContainEqual({ kind: "done", id: 2 });
});

test("a worker told to stop while it begins stops", async () => {
  const { child } = worker();
  await once(child, "message");
  for (const message of [BEGIN, { kind: "stop", graceMs: 0 }] satisfies ToWorker[]) child.send(message);
  expect(await once(child, "exit")).toEqual([0, null]);
});

test("a worker's silence is counted from its start, so that one which never gets ready is replaced, too", async () => {
  const hello = Promise.withResolvers<void>();
  const process = new WorkerProcess({
    hello: () => hello.resolve(),
    ready: () => undefined,
    heard: () => undefined,
    ended: () => undefined,
  });
  onTestFinished(() => {
    process.kill();
    return process.ended;
  });
  expect([process.tick(), process.tick()]).toEqual([1, 2]);
  await hello.promise;
  expect([process.isReady, process.tick()]).toEqual([false, 1]);
});
