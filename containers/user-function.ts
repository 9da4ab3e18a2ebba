// Loads functions from a bundle, and says what went wrong in them.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe } from "./json-output.ts";
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
    if (exported !== undefined && typeof exported !== "function")
      throw new Error(`the export "${name}" of the module is ${describe(exported)}, not a function`);
    if (typeof exported !== "function") {
      const known = Object.keys(module).filter((key) => typeof module[key] === "function");
      throw new Error(
        `${file} has no function "${name}"; its exported functions are: ${known.join(", ") || "(none)"}`,
      );
    }
    return { name, call: (...parameters) => (exported as UserFunction["call"])(...parameters) };
  });
}

/**
 * To be called before a module of the author's is loaded: stacks then show the lines of its sources. Not sooner, since Node
 * would read the source maps of all that is ours, too.
 */
export function showAuthorsLines(): void {
  process.setSourceMapsEnabled(true);
}

async function importModule(modelDir: string, file: string): Promise<Readonly<Record<string, unknown>>> {
  showAuthorsLines();
  try {
    return (await import(pathToFileURL(join(modelDir, file)).href)) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`cannot load ${file}: ${errorText(error)}`, { cause: error });
  }
}

const MAX_MESSAGE_LENGTH = 2000;

/** What callers see of a throw: name and message, never the stack. */
export function modelError(error: unknown): ItemError {
  return { code: "MODEL_ERROR", message: errorText(error) };
}

/** What a row gets that was not run any more. */
export function notRun(signal: AbortSignal): ItemError {
  const reason = signal.reason instanceof Error ? signal.reason.message : String(signal.reason);
  return { code: "MODEL_ERROR", message: `${reason} before this input could run` };
}

export function errorText(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `threw ${describe(error)}`;
  return text.length > MAX_MESSAGE_LENGTH ? `${text.slice(0, MAX_MESSAGE_LENGTH)}…` : text;
}

/** The stack goes to the container's log, for the model's author. */
export function logError(name: string, error: unknown): void {
  const stack = error instanceof Error && error.stack !== undefined ? withoutOurs(error.stack) : undefined;
  console.error(`${name}: ${stack ?? errorText(error)}`);
}

/** Where this program is, and where source maps say that it is. */
const OURS = [import.meta.dirname, join(import.meta.dirname, "../../containers")].map(
  (folder) => `${folder}/`,
);

/** What called the model says nothing to its author, and takes the place of what does in `windjammer logs`. */
function withoutOurs(stack: string): string {
  const lines = stack.split("\n");
  const first = lines.findIndex((line) => OURS.some((folder) => line.includes(folder)));
  const theirs = lines.slice(0, Math.max(0, first));
  return theirs.some((line) => line.startsWith("    at ")) ? theirs.join("\n") : stack;
}
