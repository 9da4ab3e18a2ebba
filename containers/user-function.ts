// Calls a user's list function so that one bad row fails alone, and loads such functions from a bundle.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, invalidOutput, listOf, type RowResult } from "./json-output.ts";
import type { ItemError } from "./protocol.ts";

/** A list function with its name, for messages. */
export interface UserFunction {
  readonly name: string;
  call(...parameters: readonly unknown[]): unknown;
}

/**
 * Imports named exports of a module in the bundle.
 * @throws Error naming the file, and the exports there are
 */
export async function importFunctions(
  modelDir: string,
  file: string,
  exportNames: readonly string[],
): Promise<UserFunction[]> {
  const module = await importModule(modelDir, file);
  return exportNames.map((name) => {
    const exported = module[name];
    if (typeof exported !== "function") {
      const known = Object.keys(module).filter((key) => typeof module[key] === "function");
      throw new Error(
        `${file} has no function "${name}"; its exported functions are: ${known.join(", ") || "(none)"}`,
      );
    }
    return { name, call: (...parameters) => (exported as UserFunction["call"])(...parameters) };
  });
}

async function importModule(modelDir: string, file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(join(modelDir, file)).href)) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`cannot load ${file}: ${errorText(error)}`, { cause: error });
  }
}

/** How one call of a list function is made. */
export interface RowsCall {
  readonly name: string;
  readonly signal: () => AbortSignal;
  /** Calls the function with these rows of the batch. */
  readonly call: (rows: readonly number[]) => unknown;
}

/**
 * Results for `rows`, in their order. When the function throws for several rows, or returns another number of
 * outputs, each row runs again alone, once, so that a bad input costs nobody else his answer.
 */
export async function callForRows(rows: readonly number[], user: RowsCall): Promise<RowResult[]> {
  if (rows.length === 0) return [];
  const canSplit = (): boolean => rows.length > 1 && !user.signal().aborted;
  let returned: unknown;
  try {
    returned = await user.call(rows);
  } catch (error) {
    if (canSplit()) return oneByOne(rows, user);
    logError(user.name, error);
    return rows.map(() => ({ error: modelError(error) }));
  }
  const outputs = listOf(returned);
  if (outputs?.length === rows.length) return outputs.map((value) => ({ value }));
  const error: ItemError = { ...wrongCount(user.name, outputs ?? returned, rows.length), isOfBatch: true };
  const alone = canSplit() ? await oneByOne(rows, user) : [];
  const bad = alone.filter((result) => "error" in result).length;
  // Some rows are to blame, and the others fine. All or none: the function does not handle lists, which is no row's fault.
  return bad > 0 && bad < rows.length ? alone : rows.map(() => ({ error }));
}

async function oneByOne(rows: readonly number[], user: RowsCall): Promise<RowResult[]> {
  const results: RowResult[] = [];
  for (const row of rows) results.push(...(await callForRows([row], user)));
  return results;
}

function wrongCount(name: string, returned: unknown, count: number): ItemError {
  const inputs = `${count} ${count === 1 ? "input" : "inputs"}`;
  if (!Array.isArray(returned)) {
    return invalidOutput(
      `${name} returned ${describe(returned)} for a list of ${inputs}; return a list with one output per input`,
    );
  }
  const outputs = `${returned.length} ${returned.length === 1 ? "output" : "outputs"}`;
  return invalidOutput(`${name} returned ${outputs} for ${inputs}; return one output per input`);
}

const MAX_MESSAGE_LENGTH = 2000;

/** What callers see of a throw: name and message, never the stack. */
export function modelError(error: unknown): ItemError {
  return { code: "MODEL_ERROR", message: errorText(error) };
}

export function errorText(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `threw ${describe(error)}`;
  return text.length > MAX_MESSAGE_LENGTH ? `${text.slice(0, MAX_MESSAGE_LENGTH)}…` : text;
}

/** The stack goes to the container's log, for the model's author. */
export function logError(name: string, error: unknown): void {
  console.error(
    error instanceof Error ? `${name}: ${error.stack ?? errorText(error)}` : `${name}: ${errorText(error)}`,
  );
}
