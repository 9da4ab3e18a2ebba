// Many queries while replicas are killed and versions change: every one is answered once, with its own result.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { expect, it } from "vitest";
import { deployFunction, windjammer } from "windjammer";

/** At least: callers go on until the last version has answered its share, since a slow machine takes longer to deploy it. */
const QUERIES = 50_000;
const LEAST_BY_VERSION = QUERIES / 20;
const CONNECTIONS = 64;
const KILL_EVERY_MS = 1_000;
const REPLICAS = 3;

/** Slow enough that kills hit batches in flight. */
const source = (version: number): string => `
export async function predict(inputs: readonly number[][]): Promise<unknown[]> {
  await new Promise((resolve) => setTimeout(resolve, 3));
  return inputs.map(([id = Number.NaN]) => ({ version: ${version}, id, twice: 2 * id }));
}`;

interface Reply {
  readonly output?: { readonly version: number; readonly id: number; readonly twice: number };
  readonly default?: boolean;
  readonly error?: string;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it(
  `answers ${QUERIES} queries of ${CONNECTIONS} connections while a replica is killed every second and two versions are deployed`,
  { timeout: 900_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "wj-stress-"));
    const tally = new Map<string, number>();
    const count = (what: string): void => void tally.set(what, (tally.get(what) ?? 0) + 1);
    const wrong: string[] = [];
    const progress = { next: 0 };
    const pids = new Set<number>();
    try {
      await using wj = await windjammer({ port: 0, adminPort: 0 });
      const deploy = async (version: number): Promise<void> => {
        const module = join(folder, `v${version}.ts`);
        await writeFile(module, source(version));
        await deployFunction(wj, {
          name: "twice",
          version: String(version),
          inputType: "doubles",
          module,
          replicas: REPLICAS,
        });
      };
      await deploy(1);

      const killOne = async (): Promise<void> => {
        const replicas = await wj.replicas();
        for (const { handle } of replicas) if (handle !== "") pids.add(Number(handle));
        const ready = replicas.filter(({ state }) => state === "ready");
        const victim = ready[Math.floor(Math.random() * ready.length)];
        // A slow machine takes longer than a second to start the next one: the last is left.
        if (victim === undefined || ready.length === 1) return;
        count("replicas killed");
        process.kill(Number(victim.handle), "SIGKILL");
      };
      const killer = setInterval(
        () => void killOne().catch(() => count("kills that came too late")),
        KILL_EVERY_MS,
      );

      const pool = new Pool(wj.url, { connections: CONNECTIONS, pipelining: 1 });
      const caller = async (): Promise<void> => {
        while (progress.next < QUERIES || (tally.get("answered by version 3") ?? 0) <= LEAST_BY_VERSION) {
          const id = progress.next++;
          const reply = await pool.request({
            method: "POST",
            path: "/twice/predict",
            body: `{"input":[${id}]}`,
          });
          const body = (await reply.body.json()) as Reply;
          if (reply.statusCode !== 200) count(`${reply.statusCode} ${body.error ?? "no code"}`);
          else if (body.output?.id === id && body.output.twice === 2 * id)
            count(`answered by version ${body.output.version}`);
          else wrong.push(`query ${id}: ${JSON.stringify(body)}`);
        }
      };
      const deployAt = async (version: number, share: number): Promise<void> => {
        await expect
          .poll(() => progress.next, { timeout: 600_000, interval: 20 })
          .toBeGreaterThan(QUERIES * share);
        await deploy(version);
      };
      const startedAt = performance.now();
      const callers = Promise.all(Array.from({ length: CONNECTIONS }, caller));
      await deployAt(2, 1 / 3);
      await deployAt(3, 2 / 3);
      await callers;
      clearInterval(killer);
      count(`seconds: ${((performance.now() - startedAt) / 1000).toFixed(1)}`);
      for (const { handle } of await wj.replicas()) if (handle !== "") pids.add(Number(handle));
      await pool.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    console.log(
      `stress: ${JSON.stringify(Object.fromEntries(tally))}, wrong: ${wrong.length}, replicas seen: ${pids.size}`,
    );

    expect(wrong).toEqual([]);
    const typed = new Set([
      "503 REPLICA_LOST",
      "503 NO_REPLICA",
      "503 OVERLOADED",
      "503 SHUTTING_DOWN",
      "504 REPLICA_HUNG",
    ]);
    const answered = [1, 2, 3].map((version) => tally.get(`answered by version ${version}`) ?? 0);
    const failed = [...tally].filter(([what]) => /^\d{3} /.test(what));
    expect(failed.filter(([what]) => !typed.has(what))).toEqual([]);
    expect([...answered, ...failed.map(([, times]) => times)].reduce((sum, times) => sum + times, 0)).toBe(
      progress.next,
    );
    // A query is lost only when all of its tries hit a replica that is killed, or when there is none for a moment: the
    // longer the queries take here, the more replicas are killed.
    const killed = tally.get("replicas killed") ?? 0;
    expect(failed.reduce((sum, [, times]) => sum + times, 0)).toBeLessThan(5 * killed);
    expect(answered.every((times) => times > LEAST_BY_VERSION)).toBe(true);
    expect(killed).toBeGreaterThan(1);
    expect([...pids].filter(isAlive)).toEqual([]);
  },
);
