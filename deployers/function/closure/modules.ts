// Modules that a text imports when it runs: they become packages of the bundle, or are refused.
import { createRequire } from "node:module";
import { HINTS } from "./refuse.ts";
import type { Script } from "./script.ts";
import type { Walk } from "./walk.ts";

/** A module that the text imports or requires when it runs. */
export function importText(
  text: string | undefined | null,
  at: { readonly path: string; readonly at: string; readonly script: Script },
  walk: Walk,
): void {
  if (text === undefined || text === null) {
    if (walk.declared === undefined)
      walk.refuse(
        at.path,
        `imports a module by a computed name (${at.at})`,
        "import it by its literal name, or say with the option packages what is needed ({} for nothing)",
      );
    return;
  }
  if (/^[./]|^file:|^data:/.test(text)) {
    walk.refuse(at.path, `imports the file ${text} when it runs (${at.at})`, HINTS.static);
    return;
  }
  walk.addPackage(text, at.script);
}

/** Whether it is a CommonJS `require`, its own or one of createRequire. */
export function isRequire(value: unknown): boolean {
  return (
    typeof value === "function" &&
    Object.getOwnPropertyDescriptor(value, "cache")?.value === CACHE &&
    typeof Object.getOwnPropertyDescriptor(value, "resolve")?.value === "function"
  );
}

const CACHE: unknown = createRequire(import.meta.url).cache;
