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
 * Results for `rows`, in their order. When the function throws for several rows, each row runs again alone, once,
 * so that a bad input costs nobody else his answer.
 */
export async function callForRows(rows: readonly number[], user: RowsCall): Promise<RowResult[]> {
  if (rows.length === 0) return [];
  try {
    return matchRows(await user.call(rows), rows.length, user.name);
  } catch (error) {
    if (rows.length > 1 && !user.signal().aborted) {
      const results: RowResult[] = [];
      for (const row of rows) results.push(...(await callForRows([row], user)));
      return results;
    }
    logError(user.name, error);
    return rows.map(() => ({ error: modelError(error) }));
  }
}

function matchRows(returned: unknown, count: number, name: string): RowResult[] {
  const outputs = listOf(returned);
  if (outputs?.length === count) return outputs.map((value) => ({ value }));
  const inputs = `${count} ${count === 1 ? "input" : "inputs"}`;
  const error = invalidOutput(
    outputs === undefined
      ? `${name} returned ${describe(returned)} for a list of ${inputs}; return a list with one output per input`
      : `${name} returned ${outputs.length} ${outputs.length === 1 ? "output" : "outputs"} for ${inputs}; return one output per input`,
  );
  return Array.from({ length: count }, () => ({ error: { ...error, isOfBatch: true } }));
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
