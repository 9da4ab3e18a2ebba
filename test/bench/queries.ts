// The queries of the benchmark: bodies that all differ, and how the right reply to each is known.
import { randomNumbers } from "../core/query/batching/random.ts";
import { requestBytes } from "./connection.ts";
import type { Workload } from "./load.ts";

/** Different bodies of one workload. */
const BODIES = 256;
/** Outputs in batches of another size may differ in their last digits. */
const TOLERANCE = 1e-4;

/** Queries of so many numbers whose answer is their first number: for functions that return it, and the echo. */
export function firstNumberQueries(url: string, length: number): Workload {
  const random = randomNumbers(length);
  const inputs = Array.from({ length: BODIES }, (_, index) => [
    index,
    ...Array.from({ length: length - 1 }, () => Number(random().toFixed(6))),
  ]);
  return {
    url,
    requests: inputs.map((input) => requestBytes(url, JSON.stringify({ input }))),
    isRight: (index, body) => body.includes(`"output":${index},`),
  };
}

/**
 * Queries of pixels. What is right is what the server answers to each when it is asked alone.
 * @throws Error when the server does not answer
 */
export function pixelQueries(url: string, length: number): Promise<Workload> {
  const random = randomNumbers(length);
  return askedBefore(
    url,
    Array.from({ length: BODIES }, () => randomTensor([length], random)),
  );
}

/** As `pixelQueries`, for inputs of more than one axis. */
export function imageQueries(url: string, shape: readonly number[]): Promise<Workload> {
  const random = randomNumbers(shape.length);
  return askedBefore(
    url,
    Array.from({ length: BODIES }, () => randomTensor(shape, random)),
  );
}

type Nested = number | readonly Nested[];

function randomTensor([length, ...rest]: readonly number[], random: () => number): Nested {
  if (length === undefined) return Number(random().toFixed(6));
  return Array.from({ length }, () => randomTensor(rest, random));
}

async function askedBefore(url: string, inputs: readonly Nested[]): Promise<Workload> {
  const bodies = inputs.map((input) => JSON.stringify({ input }));
  const right: (readonly number[])[] = [];
  for (const body of bodies) right.push(numbersIn(await ask(url, body)));
  if (new Set(right.map(String)).size < BODIES / 2) throw new Error(`${url} answers different queries alike`);
  const seen = bodies.map(() => new Set<string>());
  return {
    url,
    requests: bodies.map((body) => requestBytes(url, body)),
    isRight: (index, body) => {
      const output = outputOf(body);
      const known = seen[index] as Set<string>;
      if (known.has(output)) return true;
      const isRight = isClose(numbersIn(output), right[index] ?? []);
      if (isRight) known.add(output);
      return isRight;
    },
  };
}

async function ask(url: string, body: string): Promise<string> {
  const reply = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } });
  const text = await reply.text();
  if (reply.status !== 200) throw new Error(`${url} answered ${reply.status}: ${text.slice(0, 300)}`);
  return outputOf(text);
}

/** The part of a reply that holds the prediction, without ids that differ from reply to reply. */
function outputOf(body: string): string {
  const from = body.search(/"(output|outputs|predictions?|data)" *:/);
  const to = body.indexOf(',"default"');
  return body.slice(Math.max(0, from), to === -1 ? undefined : to);
}

function numbersIn(text: string): readonly number[] {
  return (text.match(/-?\d+(\.\d+)?([eE][-+]?\d+)?/g) ?? []).map(Number);
}

function isClose(got: readonly number[], expected: readonly number[]): boolean {
  return (
    got.length === expected.length &&
    got.every((value, index) => Math.abs(value - (expected[index] ?? Infinity)) <= TOLERANCE)
  );
}
