// The queries of the benchmark: bodies that all differ, and how the right reply to each is known.
import { randomNumbers } from "../core/query/batching/random.ts";
import { Connection } from "./connection.ts";
import type { Workload } from "./load.ts";
import { CLIPPER, type Nested, type Shape } from "./shapes.ts";

/** Different bodies of one workload. */
const BODIES = 256;
/** Outputs in batches of another size may differ in their last digits. */
const TOLERANCE = 1e-4;

/** Default: 256 queries as Clipper has them. */
export interface FirstNumberOptions {
  readonly count?: number;
  readonly form?: Shape;
  readonly isRight?: Workload["isRight"];
}

/** Queries of so many numbers whose answer is their first number: for functions that return it, and the echo. */
export function firstNumberQueries(
  url: string,
  length: number,
  { count = BODIES, form = CLIPPER, isRight = isOutput }: FirstNumberOptions = {},
): Workload {
  const random = randomNumbers(length);
  const rows = Array.from({ length: count }, (_, index) => [
    index,
    ...Array.from({ length: length - 1 }, () => Number(random().toFixed(6))),
  ]);
  return { url, requests: rows.map((row) => form.request(url, row)), isRight };
}

function isOutput(index: number, body: string): boolean {
  return body.includes(`"output":${index},`);
}

/** What the Open Inference Protocol makes of such an answer. */
export function isInferred(index: number, body: string): boolean {
  return body.includes(`"data":["${index}"]`);
}

export interface RowQueries {
  readonly url: string;
  /** Of one row. */
  readonly shape: readonly number[];
  /** Default: {"input": row}. */
  readonly form?: Shape;
  /** Different ones. Default: 256. */
  readonly count?: number;
  /** Answers that are known already, each query's numbers. Default: what the server says to each when it is asked alone. */
  readonly answers?: Answers;
}

type Answers = readonly (readonly number[])[];

/**
 * Queries of random numbers, the same ones for the same shape.
 * @throws Error when the server does not answer, or answers otherwise than it should
 */
export async function rowQueries({ url, shape, ...options }: RowQueries): Promise<KnownWorkload> {
  const { form = CLIPPER, count = BODIES } = options;
  const random = randomNumbers(shape.length);
  const requests = Array.from({ length: count }, () => form.request(url, randomRow(shape, random)));
  const alone = await askedAlone({ url, requests, isRight: () => true }, form);
  const { answers = alone } = options;
  for (const [index, answer] of alone.entries()) {
    if (!isClose(answer, answers[index]))
      throw new Error(`${url} answers query ${index} with ${answer.join()}`);
  }
  if (new Set(answers.map(String)).size < count / 2)
    throw new Error(`${url} answers different queries alike`);
  const seen = requests.map(() => new Set<string>());
  return {
    url,
    requests,
    answers,
    isRight: (index, body) => {
      const output = form.answer(body);
      const known = seen[index] as Set<string>;
      if (known.has(output)) return true;
      const isRight = isClose(numbersIn(output), answers[index]);
      if (isRight) known.add(output);
      return isRight;
    },
  };
}

export interface KnownWorkload extends Workload {
  /** What is right, query by query. */
  readonly answers: Answers;
}

function randomRow([length, ...rest]: readonly number[], random: () => number): Nested {
  if (length === undefined) return Number(random().toFixed(6));
  return Array.from({ length }, () => randomRow(rest, random));
}

async function askedAlone({ url, requests }: Workload, form: Shape): Promise<Answers> {
  const answers: (readonly number[])[] = [];
  const connection = new Connection(url);
  try {
    for (const request of requests) {
      const { status, body } = await connection.ask(request);
      if (status !== 200) throw new Error(`${url} answered ${status}: ${body.slice(0, 300)}`);
      answers.push(numbersIn(form.answer(body)));
    }
  } finally {
    connection.close();
  }
  return answers;
}

function numbersIn(text: string): readonly number[] {
  return (text.match(/-?\d+(\.\d+)?([eE][-+]?\d+)?/g) ?? []).map(Number);
}

function isClose(got: readonly number[], expected: readonly number[] = []): boolean {
  return (
    got.length === expected.length &&
    got.every((value, index) => Math.abs(value - (expected[index] ?? Infinity)) <= TOLERANCE)
  );
}
