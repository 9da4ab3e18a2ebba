// A server with two workers, all of them real processes: what they share, and what the end of one costs.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Windjammer } from "../../../core/client/interface.ts";
import { connect, windjammer, type WindjammerOptions } from "../../../core/windjammer.ts";
import { answering, sourceDeployer } from "../../helpers/bundles.ts";
import { isRunning } from "../../helpers/processes.ts";
import { tempFolder } from "../../helpers/temp.ts";
import { type Answer, connection, type Connection, workerOf } from "./connections.ts";

const MAIN = join(import.meta.dirname, "../../../core/cli/main.ts");

interface Lab {
  readonly wj: Windjammer;
  readonly url: string;
  /** Of the management API. */
  readonly admin: string;
  /** One connection to each worker. */
  readonly both: readonly [Connection, Connection];
}

async function lab(options: WindjammerOptions = {}): Promise<Lab> {
  const folder = await tempFolder();
  const wj = await windjammer({
    port: 0,
    adminPort: 0,
    stateDir: join(folder, "state"),
    cacheDir: join(folder, "cache"),
    workers: 2,
    ...options,
  });
  onTestFinished(() => wj.close());
  const { queryUrl: url } = await wj.info();
  const both = [connection(url), connection(url)] as const;
  // Opened one after the other, so that each is dealt to a worker of its own.
  for (const one of both) await one.request("GET", "/health/live");
  return { wj, url, admin: wj.adminUrl, both };
}

function deploy(wj: Windjammer, version: string, output: string): Promise<unknown> {
  return wj.deploy(sourceDeployer, { name: "model", version, source: answering(output) });
}

/** A model that says in `folder` which texts it has begun with, and answers them when it is let go. */
function waiting(folder: string): string {
  return `import { existsSync, writeFileSync } from "node:fs";
    export async function predict(inputs) {
      const texts = inputs.filter((input) => typeof input === "string");
      for (const text of texts) writeFileSync(${JSON.stringify(`${folder}/begun-`)} + text, "");
      while (texts.length > 0 && !existsSync(${JSON.stringify(`${folder}/go`)}))
        await new Promise((resolve) => setTimeout(resolve, 5));
      return inputs;
    }\n`;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Value of a series, as the workers' common metrics say. */
async function counted(url: string, series: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${series} `));
  return Number(line?.split(" ").at(-1) ?? 0);
}

const QUERIES = 'windjammer_queries_total{application="model",model="model",version="1",kind="ok",reason=""}';

const ROWS = 'windjammer_batch_size_sum{model="model",version="1"}';

async function readyPids(wj: Windjammer): Promise<readonly number[]> {
  const { workers } = await wj.info();
  return workers.filter(({ state }) => state === "ready").map(({ pid }) => pid);
}

test("connections are dealt to the workers in turn, and what they count is one", async () => {
  const { wj, url, admin, both } = await lab();
  await deploy(wj, "1", "({ input })");
  const gate = await counted(url, ROWS);
  const ids = new Set<unknown>();
  const workers = new Set<number>();
  for (let value = 0; value < 20; value++) {
    for (const one of both) {
      const answer = await one.predict("model", value);
      expect(answer.body).toMatchObject({ output: { input: value }, default: false });
      ids.add(answer.body["query_id"]);
      workers.add(workerOf(answer));
    }
  }
  expect(workers.size).toBe(2);
  expect(ids.size).toBe(40);
  expect(await counted(url, QUERIES)).toBe(40);
  expect(await counted(url, ROWS)).toBe(gate + 40);
  for (const pid of await readyPids(wj)) {
    expect(await counted(url, `windjammer_worker_cpu_seconds{pid="${pid}"}`)).toBeGreaterThan(0);
    expect(await counted(url, `windjammer_worker_resident_memory_bytes{pid="${pid}"}`)).toBeGreaterThan(
      10_000_000,
    );
  }
  const statistics = await (await fetch(`${url}/v2/models/model/stats`)).json();
  expect(statistics).toMatchObject({
    model_stats: [{ inference_count: gate + 40, inference_stats: { success: { count: 40 } } }],
  });
  // The curve that the workers learned is in the management API.
  const { running } = (await (await fetch(`${admin}/api/v1/models/model/versions/1`)).json()) as {
    readonly running: { readonly policy: { readonly curve?: object } };
  };
  expect(running.policy.curve).toBeDefined();
});

test("a worker that begins anew knows what the others have learned of a version", async () => {
  const { wj, both, admin } = await lab();
  await deploy(wj, "1", "input");
  const learned = async (): Promise<number> => {
    const { running } = (await (await fetch(`${admin}/api/v1/models/model/versions/1`)).json()) as {
      readonly running: { readonly policy: { readonly curve?: { readonly batches: number } } };
    };
    return running.policy.curve?.batches ?? 0;
  };
  for (let query = 0; query < 20; query++) await both[0].predict("model", query);
  await expect.poll(learned).toBe(20);
  const before = await readyPids(wj);
  for (const pid of before) {
    process.kill(pid, "SIGKILL");
    await expect.poll(async () => (await readyPids(wj)).filter((other) => other !== pid).length).toBe(2);
  }
  // Neither of the two has had a query.
  await expect.poll(learned).toBe(20);
});

test("a deployment, a rollback and a deletion are done when every worker has seen them", async () => {
  const { wj, both } = await lab();
  const outputs = async (): Promise<readonly unknown[]> =>
    Promise.all(both.map(async (one) => (await one.predict("model", 0)).body["output"]));
  await deploy(wj, "1", "'one'");
  expect(await outputs()).toEqual(["one", "one"]);
  for (let round = 0; round < 3; round++) {
    await deploy(wj, `2.${round}`, `'two ${round}'`);
    expect(await outputs()).toEqual([`two ${round}`, `two ${round}`]);
    await wj.setVersion("model", "1");
    expect(await outputs()).toEqual(["one", "one"]);
  }
  await wj.deleteApplication("model");
  const answers = await Promise.all(both.map((one) => one.predict("model", 0)));
  expect(answers.map(({ body }) => body["error"])).toEqual([
    "APPLICATION_NOT_FOUND",
    "APPLICATION_NOT_FOUND",
  ]);
});

test("a version that is replaced answers what its queries began in every worker", async () => {
  const { wj, url, both } = await lab();
  const folder = await tempFolder();
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source: waiting(folder), replicas: 2 });
  const begun = both.map((one, index) => one.predict("model", `a${index}`));
  for (const name of ["a0", "a1"]) await expect.poll(() => exists(`${folder}/begun-${name}`)).toBe(true);
  const replaced = deploy(wj, "2", "'two'");
  await expect.poll(async () => (await connection(url).request("GET", "/model")).body["version"]).toBe("2");
  await writeFile(`${folder}/go`, "");
  expect((await Promise.all(begun)).map(({ body }) => body["output"])).toEqual(["a0", "a1"]);
  await replaced;
  expect((await both[0].predict("model", 0)).body["output"]).toBe("two");
});

test("a worker that is killed loses its own requests, with their connections, and nothing else", async () => {
  const { wj, url, both } = await lab();
  const folder = await tempFolder();
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source: waiting(folder), replicas: 2 });
  const [replicas, before] = [await wj.replicas(), await readyPids(wj)];
  const begun = both.map((one, index) =>
    one.predict("model", `b${index}`).then(
      ({ body }) => body["output"],
      (error: unknown) => error,
    ),
  );
  for (const name of ["b0", "b1"]) await expect.poll(() => exists(`${folder}/begun-${name}`)).toBe(true);

  process.kill(before[0] ?? 0, "SIGKILL");
  const broken = await Promise.race(begun);
  expect(broken).toMatchObject({ code: "ECONNRESET" });
  await writeFile(`${folder}/go`, "");
  const outcomes = await Promise.all(begun);
  expect(outcomes.filter((outcome) => outcome instanceof Error)).toHaveLength(1);

  const others = async (): Promise<readonly number[]> =>
    (await readyPids(wj)).filter((pid) => pid !== before[0]);
  await expect.poll(async () => (await others()).length).toBe(2);
  const after = await readyPids(wj);
  expect(after.filter((pid) => before.includes(pid))).toEqual([before[1]]);
  expect(isRunning(before[0] ?? 0)).toBe(false);
  // Nobody else noticed: the replicas are the same, and every new connection is answered.
  expect(await wj.replicas()).toEqual(replicas);
  const fresh = Array.from({ length: 6 }, () => connection(url));
  const answers: Answer[] = [];
  for (const one of fresh) answers.push(await one.predict("model", "c"));
  expect(answers.map(({ body }) => body["output"])).toEqual(Array(6).fill("c"));
  expect(new Set(answers.map(workerOf)).size).toBe(2);
  expect(await counted(url, "windjammer_worker_ends_total")).toBe(1);
  expect(await counted(url, QUERIES)).toBe(7);
});

test("a worker that begins while a version is being closed does not keep it", async () => {
  const { wj, url, both } = await lab();
  const folder = await tempFolder();
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source: waiting(folder), replicas: 2 });
  const begun = both.map((one, index) => one.predict("model", `e${index}`).catch(() => undefined));
  for (const name of ["e0", "e1"]) await expect.poll(() => exists(`${folder}/begun-${name}`)).toBe(true);
  const replaced = deploy(wj, "2", "'two'");
  await expect.poll(async () => (await connection(url).request("GET", "/model")).body["version"]).toBe("2");
  const [killed = 0] = await readyPids(wj);
  process.kill(killed, "SIGKILL");
  await expect.poll(async () => (await readyPids(wj)).filter((pid) => pid !== killed).length).toBe(2);
  await writeFile(`${folder}/go`, "");
  await Promise.all([replaced, ...begun]);
  for (const one of [connection(url), connection(url)]) {
    const pinned = JSON.stringify({ input: 1, version: "1" });
    const ask = async (): Promise<unknown> =>
      (await one.request("POST", "/model/predict", pinned)).body["message"];
    await expect.poll(ask).toContain("version 1 does not run (the current version is 2)");
  }
});

test("a worker that hangs is replaced, though nobody asks it anything", async () => {
  const { wj } = await lab();
  const [hanging = 0, other] = await readyPids(wj);
  process.kill(hanging, "SIGSTOP");
  await expect.poll(() => isRunning(hanging)).toBe(false);
  await expect.poll(async () => (await readyPids(wj)).length).toBe(2);
  expect(await readyPids(wj)).toContain(other);
});

test("connections that come while no worker lives wait for the next one", async () => {
  const { wj, url } = await lab();
  await deploy(wj, "1", "input");
  const before = await readyPids(wj);
  for (const pid of before) process.kill(pid, "SIGKILL");
  const asked = Array.from({ length: 8 }, (_, value) => connection(url).predict("model", value));
  const outcomes = await Promise.allSettled(asked);
  // One that was dealt to a worker before its end was heard of goes to the next one, since nothing of it was read.
  expect(outcomes.map((outcome) => outcome.status === "fulfilled" && outcome.value.body["output"])).toEqual([
    0, 1, 2, 3, 4, 5, 6, 7,
  ]);
});

test("a replica that dies under both workers is replaced once, and their queries go on", async () => {
  const { wj, both } = await lab();
  const source = answering("input === 'die' ? process.exit(3) : input");
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source, isRetryable: false });
  for (const one of both) expect((await one.predict("model", 1)).body["output"]).toBe(1);
  const killed = await both[0].predict("model", "die");
  expect(killed.body).toMatchObject({ error: "REPLICA_LOST" });
  expect(killed.body["message"]).toContain("exited with code 3");
  const answers = await Promise.all(both.map((one) => one.predict("model", 2)));
  expect(answers.map(({ body }) => body["output"])).toEqual([2, 2]);
  expect((await wj.replicas()).map(({ state, restarts }) => ({ state, restarts }))).toEqual([
    { state: "ready", restarts: 1 },
  ]);
});

test("a replica that answers one worker is not taken for hung by the other, whose batch waits behind", async () => {
  const { wj, both } = await lab();
  const source = `export function predict(inputs) {
    const until = Date.now() + 4000;
    while (inputs.some((input) => typeof input === "string") && Date.now() < until);
    return inputs;
  }\n`;
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source, batchTimeoutMs: 7000 });
  const [before] = await wj.replicas();
  const answers = await Promise.all(both.map((one, index) => one.predict("model", `a${index}`)));
  expect(answers.map(({ body }) => body["output"])).toEqual(["a0", "a1"]);
  expect(await wj.replicas()).toMatchObject([{ id: before?.id, state: "ready" }]);
});

test("a replica that fails every batch is left out by each worker, and the server shows it", async () => {
  const { wj, both } = await lab();
  const folder = await tempFolder();
  const source = `import { existsSync, mkdirSync } from "node:fs";
    let isBad = true;
    try { mkdirSync(${JSON.stringify(`${folder}/claimed`)}); } catch { isBad = false; }
    export function predict(inputs) {
      if (isBad && existsSync(${JSON.stringify(`${folder}/break`)})) throw new Error("CUDA error");
      return inputs;
    }\n`;
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source, replicas: 2 });
  await writeFile(`${folder}/break`, "");
  let failed = 0;
  for (let value = 0; value < 20; value++)
    for (const one of both) if ((await one.predict("model", value)).status !== 200) failed += 1;
  // One of the workers turns to the other replica first, and hears of no trouble.
  expect(failed).toBe(2);
  const ejected = async (): Promise<number> =>
    (await wj.replicas()).filter(({ ejectedFor }) => ejectedFor !== undefined).length;
  await expect.poll(ejected).toBe(1);
});

test("what is no prediction is answered as by a server without workers", async () => {
  const { wj, both } = await lab({ token: "sixteen-letters-at-least" });
  await deploy(wj, "1", "input");
  for (const one of both) {
    expect(await one.request("GET", "/health/ready")).toMatchObject({ status: 200, body: { ready: true } });
    expect(await one.request("GET", "/model")).toMatchObject({
      body: { application: "model", readyReplicas: 1 },
    });
    expect(await one.request("GET", "/v2/models/model")).toMatchObject({ body: { name: "model" } });
    expect(await one.request("GET", "/no/such/path")).toMatchObject({
      status: 404,
      body: { error: "ROUTE_NOT_FOUND" },
    });
    expect(await one.request("POST", "/v2/repository/models/model/unload", "{}")).toMatchObject({
      status: 401,
    });
    expect(await one.predict("other", 1)).toMatchObject({ body: { error: "APPLICATION_NOT_FOUND" } });
  }
});

test("closing lets the queries of every worker finish, and leaves no process", async () => {
  const { wj, both } = await lab();
  const folder = await tempFolder();
  await wj.deploy(sourceDeployer, { name: "model", version: "1", source: waiting(folder), replicas: 2 });
  const pids = await readyPids(wj);
  const begun = both.map((one, index) => one.predict("model", `d${index}`));
  for (const name of ["d0", "d1"]) await expect.poll(() => exists(`${folder}/begun-${name}`)).toBe(true);
  const closed = wj.close();
  await writeFile(`${folder}/go`, "");
  expect((await Promise.all(begun)).map(({ body }) => body["output"])).toEqual(["d0", "d1"]);
  await closed;
  expect(pids.filter(isRunning)).toEqual([]);
});

async function startCommand(stateDir: string): Promise<{ child: ChildProcess; adminUrl: string }> {
  const ports = ["--port", "0", "--admin-port", "0"];
  const args = [MAIN, "start", ...ports, "--workers", "2", "--state-dir", stateDir, "--log-level", "warn"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  for await (const chunk of child.stdout ?? []) {
    output += String(chunk);
    if (output.includes("try it")) break;
  }
  expect(output).toContain("workers         2 processes take predictions");
  return { child, adminUrl: /management API\s+(\S+)/.exec(output)?.[1] ?? "" };
}

test("when the server's own process is killed its workers end, and the next one serves what this one did", async () => {
  const stateDir = join(await tempFolder(), "state");
  await mkdir(stateDir);
  const first = await startCommand(stateDir);
  const before = await connect(first.adminUrl);
  await deploy(before, "1", "input");
  const pids = await readyPids(before);
  await before.close();
  first.child.kill("SIGKILL");
  await expect.poll(() => pids.filter(isRunning)).toEqual([]);

  const second = await startCommand(stateDir);
  const after = await connect(second.adminUrl);
  onTestFinished(() => after.close());
  const { queryUrl } = await after.info();
  const both = [connection(queryUrl), connection(queryUrl)];
  for (const one of both) {
    await expect.poll(async () => (await one.predict("model", 4)).body["output"]).toBe(4);
  }
  const exited = once(second.child, "exit");
  second.child.kill("SIGTERM");
  await exited;
});
