// `npm run bench -- --runtimes`: the Docker runtime, on its socket and on a port, against the process runtime.
import { load, type LoadResult } from "./load.ts";
import { startServer } from "./processes.ts";

const NAMES = ["process", "docker-socket", "docker-port"] as const;

const BODIES = {
  first: (index: number) => `{"input":[${index},2.5,3.25,4]}`,
  digits: (index: number) => `{"input":[${index / 1e6}${",0.5".repeat(63)}]}`,
} as const;

export interface Comparison {
  readonly seconds: number;
  readonly rounds: number;
  readonly baseImage: string | undefined;
}

/** Prints a table; each round asks every runtime in turn. */
export async function compareRuntimes({ seconds, rounds, baseImage }: Comparison): Promise<void> {
  await using started = new AsyncDisposableStack();
  const program = new URL("runtime-server.ts", import.meta.url).pathname;
  const servers = new Map<string, string>();
  for (const name of NAMES) {
    const args = [
      "--conditions=windjammer-source",
      program,
      name,
      ...(baseImage === undefined ? [] : [baseImage]),
    ];
    servers.set(name, started.use(await startServer(args, /^http:\S+/)).url);
  }
  console.log(
    "| model | connections | runtime | requests/s | × process | p50 ms | × process |\n|---|---|---|---|---|---|---|",
  );
  for (const application of ["first", "digits"] as const) {
    for (const connections of [1, 64]) {
      const samples = await sampled({ application, connections, servers, seconds, rounds });
      for (const name of NAMES) console.log(row({ application, connections, name }, samples));
    }
  }
}

type Samples = ReadonlyMap<string, readonly LoadResult[]>;

async function sampled(what: {
  readonly application: keyof typeof BODIES;
  readonly connections: number;
  readonly servers: ReadonlyMap<string, string>;
  readonly seconds: number;
  readonly rounds: number;
}): Promise<Samples> {
  const { application, connections, servers, seconds, rounds } = what;
  const samples = new Map<string, LoadResult[]>(NAMES.map((name) => [name, []]));
  const body = BODIES[application];
  for (let round = -1; round < rounds; round++) {
    for (const [name, base] of servers) {
      const url = `${base}/${application}/predict`;
      const result = await load({ url, connections, seconds, body, check: anything });
      // The first round warms up.
      if (round >= 0) samples.get(name)?.push(result);
    }
  }
  return samples;
}

function anything(): undefined {
  return undefined;
}

function ratio(value: number, of: number): string {
  return (value / of).toFixed(2);
}

function row(
  {
    application,
    connections,
    name,
  }: { readonly application: string; readonly connections: number; readonly name: string },
  samples: Samples,
): string {
  const own = samples.get(name) ?? [];
  const base = samples.get("process") ?? [];
  const rate = median(own, "perSecond");
  const p50 = median(own, "p50Ms");
  return `| ${application} | ${connections} | ${name} | ${Math.round(rate)} | ${ratio(rate, median(base, "perSecond"))} | ${p50.toFixed(2)} | ${ratio(p50, median(base, "p50Ms"))} |`;
}

function median(samples: readonly LoadResult[], key: "perSecond" | "p50Ms"): number {
  const sorted = samples.map((one) => one[key]).toSorted((one, other) => one - other);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
