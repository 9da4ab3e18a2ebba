// Follows an import of the user's own files to the variable behind it, through re-exports.
import { dirname, resolve } from "node:path";
import type { Script } from "./script.ts";

/** A variable at the top level of a script. */
export interface ScriptVariable {
  readonly script: Script;
  readonly name: string;
}

export interface Import {
  readonly script: Script;
  readonly specifier: string;
  readonly name: string;
}

const MAX_STEPS = 50;
const EXTENSIONS = ["", ".ts", ".js", ".mts", ".mjs", ".tsx", "/index.ts", "/index.js"];

/** @returns undefined where an expression is exported, or the file is not loaded */
export function exportedVariable(
  start: Import,
  scripts: readonly Script[],
  step = 0,
): ScriptVariable | undefined {
  const script = fileOf(start, scripts);
  if (script === undefined || step > MAX_STEPS) return undefined;
  const { exports, stars, program } = script.scopes;
  const found = exports.get(start.name);
  if (found?.source !== undefined)
    return exportedVariable({ script, specifier: found.source, name: found.local }, scripts, step + 1);
  if (found !== undefined) {
    const declaration = program.names.get(found.local);
    const from = declaration?.type.startsWith("Import") === true ? declaration.source?.value : undefined;
    if (typeof from !== "string") return { script, name: found.local };
    if (declaration?.type === "ImportNamespaceSpecifier") return undefined;
    const name =
      declaration?.type === "ImportDefaultSpecifier" ? "default" : (declaration?.imported?.name ?? "");
    return exportedVariable({ script, specifier: from, name }, scripts, step + 1);
  }
  for (const specifier of start.name === "default" ? [] : stars) {
    const behind = exportedVariable({ script, specifier, name: start.name }, scripts, step + 1);
    if (behind !== undefined) return behind;
  }
  return undefined;
}

function fileOf({ script, specifier }: Import, scripts: readonly Script[]): Script | undefined {
  if (script.path === undefined || !/^[./]|^file:/.test(specifier)) return undefined;
  const path = specifier.startsWith("file:")
    ? decodeURIComponent(new URL(specifier).pathname)
    : resolve(dirname(script.path), specifier.replace(/\?.*$/s, ""));
  const names = new Set([
    ...EXTENSIONS.map((extension) => path + extension),
    path.replace(/\.js$/, ".ts"),
    path.replace(/\.mjs$/, ".mts"),
  ]);
  // The last one: a file that was loaded again under a query is the one whose importer was loaded again.
  return scripts.findLast((each) => each.path !== undefined && names.has(each.path));
}
