// The servers of one run: the bare echo, the frontend without a hop, and a whole Windjammer with its models.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Windjammer } from "windjammer";
import { cpuMs, startServer } from "./processes.ts";
import { type ClosedResult, closedLoop, type Workload } from "./load.ts";

export const file = (path: string): string => new URL(path, import.meta.url).pathname;
const SOURCE = "--conditions=windjammer-source";

/** How long and how often: every repeat asks each server in turn. */
export interface Effort {
  readonly seconds: number;
  readonly repeats: number;
}

/** Workload and the processes whose CPU it costs, the one that answers first. */
export interface Target {
  readonly workload: Workload;
  readonly pids: readonly number[];
}

export interface Sample extends ClosedResult {
  /** CPU of the process that answers, µs a request. */
  readonly cpuUs: number;
  /** CPU of all its processes, µs a request. */
  readonly allCpuUs: number;
}

export async function sample(
  { workload, pids }: Target,
  connections: number,
  seconds: number,
): Promise<Sample> {
  const own = pids.slice(0, 1);
  const [before, allBefore] = [await cpuMs(own), await cpuMs(pids)];
  const result = await closedLoop(workload, { connections, seconds });
  const perRequest = (ms: number): number => (ms * 1000) / result.requests;
  return {
    ...result,
    cpuUs: perRequest((await cpuMs(own)) - before),
    allCpuUs: perRequest((await cpuMs(pids)) - allBefore),
  };
}

/** Samples of each target, interleaved, after one round that warms up and does not count. */
export async function interleaved(
  targets: readonly Target[],
  connections: number,
  { seconds, repeats }: Effort,
): Promise<readonly (readonly Sample[])[]> {
  const samples = targets.map((): Sample[] => []);
  for (let round = -1; round < repeats; round++) {
    // To and fro, so that none is always behind the same other one.
    const order = round % 2 === 0 ? [...targets.keys()] : [...targets.keys()].toReversed();
    for (const index of order) {
      const one = await sample(
        targets[index] as Target,
        connections,
        round < 0 ? Math.min(seconds, 1) : seconds,
      );
      if (round >= 0) samples[index]?.push(one);
    }
  }
  return samples;
}

export interface Lab extends AsyncDisposable {
  readonly client: Windjammer;
  /** What the server printed until it was ready. */
  readonly output: string;
  /** Where it speaks gRPC, if it was told to. */
  readonly grpcAddress: string | undefined;
  readonly pid: number;
  /** The frontend and the replicas of a model. */
  pidsOf(model: string): Promise<readonly number[]>;
  urlOf(application: string): string;
  /** Queries and batches of a model so far. */
  batches(model: string): Promise<{ readonly queries: number; readonly batches: number }>;
  /** Folder of the server's state. */
  readonly stateDir: string;
  close(): Promise<void>;
}

export interface LabOptions {
  /** Reuse a state folder, which is then left alone. */
  readonly stateDir?: string;
  /** Options of Node for the frontend, as to profile it. */
  readonly nodeOptions?: readonly string[];
  /** More arguments of `windjammer start`. */
  readonly args?: readonly string[];
  /** More variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export async function startLab(options: LabOptions = {}): Promise<Lab> {
  const { stateDir: given, nodeOptions = [], env, args: more = [] } = options;
  const stateDir = given ?? (await mkdtemp(join(tmpdir(), "windjammer-bench-")));
  const args = ["start", "--port", "0", "--admin-port", "0", "--state-dir", stateDir, "--log-level", "warn"];
  const server = await startServer(
    [...nodeOptions, file("../../dist/core/cli/main.js"), ...args, ...more],
    // Its last line, behind those of all addresses.
    /try it\s+curl (http:\S+)\/health\/ready/,
    env,
  );
  const client = await connect(server.url);
  const close = async (): Promise<void> => {
    await client.close();
    await server[Symbol.asyncDispose]();
    if (given === undefined) await rm(stateDir, { recursive: true, force: true });
  };
  return {
    client,
    output: server.output,
    grpcAddress: /^\s*gRPC\s+(\S+)/m.exec(server.output)?.[1],
    pid: server.pid,
    stateDir,
    async pidsOf(model) {
      const replicas = await client.replicas();
      const own = replicas.filter((replica) => replica.model === model);
      return [server.pid, ...own.map((replica) => Number(replica.handle))];
    },
    urlOf: (application) => `${client.url}/${application}/predict`,
    async batches(model) {
      const text = await (await fetch(`${client.url}/metrics`)).text();
      const of = (name: string): number =>
        Number(
          new RegExp(`^windjammer_batch_size_${name}\\{model="${model}".*\\} (\\S+)$`, "m").exec(text)?.[1] ??
            0,
        );
      return { queries: of("sum"), batches: of("count") };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

export interface Plain extends AsyncDisposable {
  readonly url: string;
  readonly pids: readonly number[];
}

/** The bare echo, or the frontend without a hop. */
export async function startPlain(
  name: "echo-server" | "ingress-server",
  ...args: readonly string[]
): Promise<Plain> {
  const server = await startServer([SOURCE, file(`programs/${name}.ts`), ...args], /^http:\S+/);
  return {
    url: server.url,
    pids: [server.pid],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
