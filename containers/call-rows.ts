// Calls a user's list function with the rows of a batch, so that one bad row fails alone.
import { setImmediate } from "node:timers/promises";
import { describe, invalidOutput, listOf, type RowResult } from "./json-output.ts";
import type { ItemError } from "./protocol.ts";
import { logError, modelError, notRun } from "./user-function.ts";

/** How one call of a list function is made. */
export interface RowsCall {
  readonly name: string;
  readonly signal: () => AbortSignal;
  /** Calls the function with these rows of the batch. */
  readonly call: (rows: readonly number[]) => unknown;
}

/** What is known of one row. */
interface Tried {
  readonly result: RowResult;
  /** The function was called with this row and no other. */
  readonly isAlone: boolean;
}

type Outcome =
  | { readonly kind: "values"; readonly values: readonly unknown[] }
  | { readonly kind: "wrong-count"; readonly error: ItemError }
  | { readonly kind: "threw"; readonly error: ItemError; readonly thrown: unknown };

/**
 * Results for `rows`, in their order. Rows that fail together are halved until the bad ones are alone, so that a bad
 * input costs nobody else his answer: 2·log2(n) calls more for one bad row among n. Rows that have not run when the
 * signal aborts fail.
 */
export async function callForRows(rows: readonly number[], user: RowsCall): Promise<RowResult[]> {
  if (rows.length === 0) return [];
  const outcome = await callOnce(rows, user);
  const tried = await settle(rows, outcome, user);
  const results = tried.map(({ result }) => result);
  if (outcome.kind !== "wrong-count" || (await isFaultOfRows(rows, tried, user))) return results;
  return rows.map(() => ({ error: outcome.error }));
}

async function callOnce(rows: readonly number[], user: RowsCall): Promise<Outcome> {
  try {
    const returned = await user.call(rows);
    const values = listOf(returned);
    if (values?.length === rows.length) return { kind: "values", values };
    return { kind: "wrong-count", error: wrongCount(user.name, values ?? returned, rows.length) };
  } catch (error) {
    return { kind: "threw", error: modelError(error), thrown: error };
  }
}

async function settle(rows: readonly number[], outcome: Outcome, user: RowsCall): Promise<Tried[]> {
  const isAlone = rows.length === 1;
  if (outcome.kind === "values") return outcome.values.map((value) => ({ result: { value }, isAlone }));
  if (!isAlone && !(await isOver(user))) return tryHalves(rows, user);
  if (outcome.kind === "threw") logError(user.name, outcome.thrown);
  return rows.map(() => ({ result: { error: outcome.error }, isAlone }));
}

async function tryHalves(rows: readonly number[], user: RowsCall): Promise<Tried[]> {
  const middle = Math.ceil(rows.length / 2);
  const left = rows.slice(0, middle);
  const right = rows.slice(middle);
  const tried = await settle(left, await callOnce(left, user), user);
  if (!(await isOver(user))) return [...tried, ...(await settle(right, await callOnce(right, user), user))];
  const result = { error: notRun(user.signal()) };
  return [...tried, ...right.map(() => ({ result, isAlone: false }))];
}

/**
 * A wrong count is the fault of rows when some fail alone and some do not. When all or none fail alone, the function
 * does not handle lists, which is no row's fault.
 */
async function isFaultOfRows(
  rows: readonly number[],
  tried: readonly Tried[],
  user: RowsCall,
): Promise<boolean> {
  const isGood = ({ result }: Tried): boolean => "value" in result;
  const alone = tried.filter(({ isAlone }) => isAlone);
  if (alone.every(isGood)) return false;
  if (alone.some(isGood)) return true;
  // What was good only among others may be so by chance: the function may always return as many outputs.
  const candidate = tried.findIndex(isGood);
  if (candidate === -1 || (await isOver(user))) return false;
  const outcome = await callOnce(rows.slice(candidate, candidate + 1), user);
  return outcome.kind === "values";
}

/** Lets messages and timers in first: a function that never waits would hold them back. */
async function isOver(user: RowsCall): Promise<boolean> {
  await setImmediate();
  return user.signal().aborted;
}

function wrongCount(name: string, returned: unknown, count: number): ItemError {
  return { ...invalidOutput(wrongCountText(name, returned, count)), isWrongCount: true };
}

function wrongCountText(name: string, returned: unknown, count: number): string {
  const inputs = `${count} ${count === 1 ? "input" : "inputs"}`;
  if (!Array.isArray(returned))
    return `${name} returned ${describe(returned)} for a list of ${inputs}; return a list with one output per input`;
  const outputs = `${returned.length} ${returned.length === 1 ? "output" : "outputs"}`;
  return `${name} returned ${outputs} for ${inputs}; return one output per input`;
}
