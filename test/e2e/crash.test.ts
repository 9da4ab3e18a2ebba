// Kills the server with SIGKILL at every event of a deployment; a restart must find an intact registry and serve.
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { windjammer } from "../../core/windjammer.ts";
import type { Windjammer } from "../../core/client/interface.ts";
import type { Deployment } from "../../core/types.ts";
import { answering, sourceDeployer } from "../helpers/bundles.ts";
import { containersOf } from "../helpers/processes.ts";

const PROGRAM = fileURLToPath(new URL("crash-program.ts", import.meta.url));
const FEWEST_POINTS = 10;
const MOST_POINTS = 60;

let folder: string;

function open(stateDir: string): Promise<Windjammer> {
  return windjammer({ port: 0, adminPort: 0, stateDir, cacheDir: join(folder, "cache") });
}

/** Runs the program; gives what it said when it killed itself, or undefined when it came to its end. */
function runProgram(stateDir: string, killAt: string, kind: string): Promise<string | undefined> {
  const args = [PROGRAM, stateDir, join(folder, "cache"), killAt, kind];
  // What a killed client leaves of its own in the temporary folder is not the server's matter.
  const env = { ...process.env, TMPDIR: join(folder, "tmp") };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env, timeout: 200_000 }, (error, _, stderr) => {
      if (error === null) resolve(undefined);
      else if (error.signal === "SIGKILL" && stderr.includes("killed at "))
        resolve(stderr.trim().split("\n").at(-1));
      else reject(new Error(`the program ended otherwise: ${stderr}`, { cause: error }));
    });
  });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-crash-"));
  await mkdir(join(folder, "tmp"));
  await using first = await open(join(folder, "state"));
  await first.deploy(sourceDeployer, {
    name: "model",
    version: "1",
    source: answering("({ by: 1, input })"),
  });
  await first.close();
  await cp(join(folder, "state"), join(folder, "two"), { recursive: true });
  await using second = await open(join(folder, "two"));
  await second.deploy(sourceDeployer, {
    name: "model",
    version: "2",
    source: answering("({ by: 2, input })"),
  });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** The deployment that was cut off has ended, as the registry says. */
function checkRecord(last: Deployment | undefined, current: string): void {
  if (last?.version !== "2") return;
  expect(last).toMatchObject(
    current === "1"
      ? { state: "failed", error: { code: "DEPLOYMENT_INTERRUPTED" } }
      : { state: "succeeded", result: "deployed" },
  );
}

/** What a restart finds, and that all of it is whole. Returns the version that serves. */
async function checkRestart(stateDir: string): Promise<string> {
  await using wj = await open(stateDir);
  const [model, ...others] = await wj.models();
  expect(others).toEqual([]);
  const current = model?.currentVersion ?? "none";
  expect(["1", "2"]).toContain(current);

  const versions = await wj.versions("model");
  expect(versions.map(({ version }) => version).toSorted()).toEqual(current === "1" ? ["1"] : ["1", "2"]);
  const wanted = versions.map(({ version, desiredReplicas }) => ({ version, desiredReplicas }));
  expect(wanted.filter(({ desiredReplicas }) => desiredReplicas > 0)).toEqual([
    { version: current, desiredReplicas: current === "1" ? 1 : 2 },
  ]);

  const application = await wj.application("model");
  const answer = (): Promise<unknown> => application.predict(7).catch(String);
  await expect.poll(answer).toEqual({ by: Number(current), input: 7 });
  const countReady = async (): Promise<number> =>
    (await wj.replicas()).filter(({ state }) => state === "ready").length;
  await expect.poll(countReady).toBe(current === "1" ? 1 : 2);
  const running = await containersOf(stateDir);
  if (running !== undefined) expect(running).toHaveLength(current === "1" ? 1 : 2);

  checkRecord((await wj.deployments())[0], current);
  const bundles = versions.map(({ bundle }) => bundle);
  expect((await readdir(join(stateDir, "bundles"))).toSorted()).toEqual(bundles.toSorted());

  const again = await wj.deploy(sourceDeployer, {
    name: "model",
    version: "2",
    source: answering("({ by: 2, input })"),
  });
  expect(again.deployment.state).toBe("succeeded");
  expect(await again.predict(8)).toEqual({ by: 2, input: 8 });
  return current;
}

it("a server killed at any event of a deployment comes back whole", { timeout: 1_200_000 }, async () => {
  const points: string[] = [];
  const served: string[] = [];
  for (let killAt = 1; killAt <= MOST_POINTS; killAt++) {
    const stateDir = join(folder, `state-${killAt}`);
    await cp(join(folder, "state"), stateDir, { recursive: true });
    const said = await runProgram(stateDir, String(killAt), "rollout");
    const current = await checkRestart(stateDir);
    await expect.poll(() => containersOf(stateDir)).toEqual(process.platform === "linux" ? [] : undefined);
    await rm(stateDir, { recursive: true, force: true });
    if (said === undefined) {
      expect(current).toBe("2");
      break;
    }
    served.push(current);
    points.push(`${said} -> version ${current} serves`);
  }
  console.log(points.join("\n"));
  expect(points.length).toBeGreaterThanOrEqual(FEWEST_POINTS);
  // Version 1 serves up to the switch, version 2 from then on.
  expect(served).toEqual(served.toSorted());
  expect(new Set(served)).toEqual(new Set(["1", "2"]));
});

/** What serves, as far as a deployment can change it: version, replicas, latency objective; and replicas beside it. */
interface Serves {
  readonly current?: string;
  readonly replicas?: number;
  readonly objective?: number;
  readonly beside?: number;
}

interface Kind {
  readonly kind: string;
  readonly state: string;
  readonly before: Serves;
  readonly after: Serves;
  /** The first event behind its commit. Default: the second one of the switch. */
  readonly committed?: string;
  /** The last event before that. Default: the first one of the switch. */
  readonly last?: string;
  readonly result?: "ready";
}

const KINDS: readonly Kind[] = [
  { kind: "first", state: "none", before: {}, after: { current: "1", replicas: 1 } },
  {
    kind: "settings",
    state: "state",
    before: { current: "1", replicas: 1 },
    after: { current: "1", replicas: 2, objective: 5_000 },
  },
  {
    kind: "setVersion",
    state: "two",
    before: { current: "2", replicas: 1 },
    after: { current: "1", replicas: 1 },
  },
  {
    kind: "withoutSwitch",
    state: "state",
    before: { current: "1", replicas: 1 },
    after: { current: "1", replicas: 1, beside: 2 },
    last: "scale/2",
    committed: "done/1",
    result: "ready",
  },
];

async function whatServes(wj: Windjammer): Promise<Serves> {
  const current = (await wj.models())[0]?.currentVersion;
  if (current === undefined) return {};
  const versions = await wj.versions("model");
  const version = versions.find(({ version: name }) => name === current);
  const beside = versions.find(
    ({ version: name, desiredReplicas }) => name !== current && desiredReplicas > 0,
  );
  const objective = (await wj.applications())[0]?.latencyObjectiveMs;
  return {
    current,
    ...(version === undefined ? {} : { replicas: version.desiredReplicas }),
    ...(objective === undefined ? {} : { objective }),
    ...(beside === undefined ? {} : { beside: beside.desiredReplicas }),
  };
}

it.each(KINDS)(
  "a server killed during a deployment of the kind $kind knows whether it had happened",
  async ({ kind, state, before, after, last = "switch/1", committed = "switch/2", result = "deployed" }) => {
    for (const [killAt, serves] of [
      ["check/1", before],
      [last, before],
      [committed, after],
    ] as const) {
      const stateDir = join(folder, `${kind}-${killAt.replace("/", "-")}`);
      if (state !== "none") await cp(join(folder, state), stateDir, { recursive: true });
      expect(await runProgram(stateDir, killAt, kind)).toContain("killed at");
      await using wj = await open(stateDir);
      expect(await whatServes(wj)).toEqual(serves);
      expect((await wj.deployments())[0]).toMatchObject(
        serves === after
          ? { state: "succeeded", result }
          : { state: "failed", error: { code: "DEPLOYMENT_INTERRUPTED" } },
      );
      if (serves.current === undefined) continue;
      const application = await wj.application("model");
      const answer = (): Promise<unknown> => application.predict(7).catch(String);
      await expect.poll(answer).toEqual({ by: Number(serves.current), input: 7 });
      if (serves.beside === undefined) continue;
      const fromBeside = (): Promise<unknown> => application.predict(7, { version: "2" }).catch(String);
      await expect.poll(fromBeside).toEqual({ by: 2, input: 7 });
    }
  },
);
