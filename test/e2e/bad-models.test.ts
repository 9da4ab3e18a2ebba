// Models that misbehave on one input, through a real server: the caller of that input learns why, by code and message;
// everybody else, in the same batches, gets his answer.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ApplicationHandle, deployFunction, type Windjammer, windjammer } from "windjammer";

const MODEL = `
const kept: Buffer[] = [];

function answer(input: unknown): unknown {
  switch (input) {
    case "throw": throw new TypeError("cannot read the label");
    case "undefined": return undefined;
    case "bigint": return 10n;
    case "circular": { const self: { self?: unknown } = {}; self.self = self; return self; }
    case "exit": console.error("giving up on purpose"); return process.exit(3);
    case "crash": setTimeout(() => { throw new Error("nobody catches this"); }, 0); return new Promise(() => undefined);
    case "hang": for (;;) Math.random();
    case "wait": return new Promise(() => undefined);
    case "leak": for (;;) kept.push(Buffer.alloc(2 ** 24, 1));
    default: return { echo: input };
  }
}

export async function predict(inputs: unknown[]): Promise<unknown[]> {
  if (inputs.includes("short") && inputs.length === 1) return [];
  if (inputs.includes("short")) return inputs.slice(1);
  return Promise.all(inputs.map(answer));
}`;

let folder: string;
let wj: Windjammer;
let model: ApplicationHandle;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-bad-models-"));
  await writeFile(join(folder, "model.ts"), MODEL);
  wj = await windjammer({ port: 0, adminPort: 0 });
  const options = {
    version: "1",
    inputType: "json",
    module: join(folder, "model.ts"),
    batchTimeoutMs: 6000,
    memoryMb: 300,
  } as const;
  model = await deployFunction(wj, { ...options, name: "bad", replicas: 2 });
  await deployFunction(wj, {
    ...options,
    name: "covered",
    defaultOutput: "unknown",
    // Time for a replica that takes the place of the crashed one, which the query is tried on, too.
    latencyObjectiveMs: 120_000,
  });
});

afterAll(async () => {
  await wj.close();
  await rm(folder, { recursive: true, force: true });
});

it.each([
  ["throw", "MODEL_ERROR", /TypeError: cannot read the label/],
  ["undefined", "INVALID_MODEL_OUTPUT", /undefined/],
  ["bigint", "INVALID_MODEL_OUTPUT", /BigInt/i],
  ["circular", "INVALID_MODEL_OUTPUT", /circular/i],
  ["short", "INVALID_MODEL_OUTPUT", /0 outputs for 1 input/],
  ["exit", "REPLICA_LOST", /replica bad-1-r\d+ exited with code 3/],
  ["crash", "REPLICA_LOST", /nobody catches this/],
  ["hang", "REPLICA_HUNG", /within 6000 ms/],
  ["wait", "REPLICA_HUNG", /within 6000 ms/],
  ["leak", "REPLICA_LOST", /out of memory/],
])("an input that makes the model %s fails alone, with %s", async (input, code, message) => {
  const others = Array.from({ length: 20 }, (_, index) => `good ${index}`);
  const [bad, ...good] = await model.predictDetailed([input, ...others]);
  expect(good).toEqual(others.map((echo) => ({ output: { echo }, isDefault: false })));
  expect(bad).toMatchObject({ error: { code, message: expect.stringMatching(message) } });
});

it("a default output stands in for a crashed model, and its explanation names the crash", async () => {
  const covered = await wj.application("covered");
  const [prediction] = await covered.predictDetailed(["exit"]);
  expect(prediction).toMatchObject({
    output: "unknown",
    isDefault: true,
    explanation: expect.stringMatching(/replica covered-1-r\d+ exited with code 3/),
  });
  await expect(covered.predict("fine")).resolves.toEqual({ echo: "fine" });
});
