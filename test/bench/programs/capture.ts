// What capturing a live function costs: time and bytes, each kind in a process of its own. Prints a table.
// node --conditions=windjammer-source test/bench/programs/capture.ts
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { loadClosure } from "../../../containers/function/closure.ts";
import { CLOSURE_FILES, serialize } from "../../../deployers/function/closure/serialize.ts";

const REPEATS = 7;
const FLOATS = (50 * 2 ** 20) / Float32Array.BYTES_PER_ELEMENT;
const MEGABYTES_OF_OBJECTS = 100;

interface Sample {
  readonly wallMs: number;
  readonly cpuMs: number;
}

const KINDS: Readonly<Record<string, () => Promise<object>>> = {
  "10 lines": async () => {
    const scale = 3;
    return (inputs: readonly (readonly number[])[]) => {
      const results: number[] = [];
      for (const input of inputs) {
        let sum = 0;
        for (const x of input) sum += x * scale;
        if (sum < 0) sum = 0;
        results.push(sum);
      }
      return results;
    };
  },
  "imports zod": async () => {
    const { z } = await import("zod");
    const item = z.object({ x: z.number() });
    return (inputs: readonly unknown[]) => inputs.map((input) => item.parse(input).x);
  },
  "50 MiB of floats": async () => {
    const weights = new Float32Array(FLOATS).map((_, index) => index % 1000);
    return (inputs: readonly number[]) => inputs.map((index) => weights[index]);
  },
  "arrow with an outer this": async () => new Held().get,
  [`the same beside ${MEGABYTES_OF_OBJECTS} MB of objects`]: async () => {
    Reflect.set(
      globalThis,
      "ballast",
      Array.from({ length: MEGABYTES_OF_OBJECTS * 8_000 }, (_, i) => ({ i, text: `${i}` })),
    );
    return new Held().get;
  },
};

class Held {
  k = 2;
  get = (inputs: readonly number[]): readonly number[] => inputs.map((x) => x * this.k);
}

async function measured(work: () => unknown): Promise<Sample> {
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  await work();
  const wallMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, cpuMs: (user + system) / 1000 };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

async function repeated(work: () => unknown): Promise<{ readonly first: Sample; readonly median: Sample }> {
  const samples: Sample[] = [];
  for (let at = 0; at < REPEATS; at += 1) samples.push(await measured(work));
  const [first = { wallMs: 0, cpuMs: 0 }, ...more] = samples;
  return {
    first,
    median: {
      wallMs: median(more.map(({ wallMs }) => wallMs)),
      cpuMs: median(more.map(({ cpuMs }) => cpuMs)),
    },
  };
}

async function measureKind(kind: string): Promise<void> {
  const fn = (await KINDS[kind]?.()) ?? {};
  const folder = mkdtempSync(join(tmpdir(), "wj-capture-"));
  const { files } = serialize({ fn, setup: undefined, packages: undefined }, folder);
  const captured = await repeated(() => serialize({ fn, setup: undefined, packages: undefined }, folder));
  const data = readFileSync(join(folder, CLOSURE_FILES.dataFile));
  const copied = await repeated(() => writeFileSync(join(folder, "copy"), data));
  const packages = kind.includes("zod")
    ? undefined
    : await repeated(async () => loadClosure(folder, CLOSURE_FILES));
  rmSync(folder, { recursive: true });
  const bytes = Object.values(files).reduce((sum, size) => sum + size, 0);
  console.log(JSON.stringify({ bytes, captured, copied, loaded: packages?.median }));
}

interface Figures {
  readonly bytes: number;
  readonly captured: { readonly first: Sample; readonly median: Sample };
  readonly copied: { readonly median: Sample };
  readonly loaded?: Sample;
}

function ms(value: number | undefined): number {
  return Math.round((value ?? Number.NaN) * 10) / 10;
}

function row(kind: string): Readonly<Record<string, string | number>> {
  const node = [...process.execArgv, fileURLToPath(import.meta.url), kind];
  const { bytes, captured, copied, loaded } = JSON.parse(
    execFileSync(process.execPath, node, { encoding: "utf8" }),
  ) as Figures;
  return {
    function: kind,
    bytes: bytes,
    "capture, wall ms": ms(captured.median.wallMs),
    "capture, CPU ms": ms(captured.median.cpuMs),
    "writing the same data, CPU ms": ms(copied.median.cpuMs),
    "load, CPU ms": ms(loaded?.cpuMs),
  };
}

const [, file = "", kind] = process.argv;
if (import.meta.url === pathToFileURL(file).href)
  if (kind === undefined) console.table(Object.keys(KINDS).map(row));
  else await measureKind(kind);
