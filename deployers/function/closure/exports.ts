// Follows an import of the user's own files to the variable behind it, through re-exports.
import { dirname, resolve } from "node:path";
import { IMPORT, resolveFrom } from "./resolve.ts";
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
  const { exports, stars } = script.scopes;
  const found = exports.get(start.name);
  const behind = (specifier: string, name: string): ScriptVariable | undefined =>
    exportedVariable({ script, specifier, name }, scripts, step + 1);
  if (found?.source !== undefined) return behind(found.source, found.local);
  if (found !== undefined) return localVariable(script, found.local, behind);
  if (start.name === "default") return undefined;
  for (const specifier of stars) {
    const variable = behind(specifier, start.name);
    if (variable !== undefined) return variable;
  }
  return undefined;
}

/** A variable of the script, or what it imports under that name and passes on. */
function localVariable(
  script: Script,
  name: string,
  behind: (specifier: string, name: string) => ScriptVariable | undefined,
): ScriptVariable | undefined {
  const declaration = script.scopes.program.names.get(name);
  const source = declaration?.type.startsWith("Import") === true ? declaration.source?.value : undefined;
  if (declaration === undefined || typeof source !== "string") return { script, name };
  if (declaration.type === "ImportNamespaceSpecifier") return undefined;
  const isDefault = declaration.type === "ImportDefaultSpecifier";
  return behind(source, isDefault ? "default" : (declaration.imported?.name ?? ""));
}

/** The file that a script of the user's imports; undefined: a package, or a file that is not loaded. */
export function fileOf(
  { script, specifier }: Pick<Import, "script" | "specifier">,
  scripts: readonly Script[],
): Script | undefined {
  if (script.path === undefined) return undefined;
  const path = pathOf(specifier, script.path);
  if (path === undefined) return undefined;
  const names = new Set([
    ...EXTENSIONS.map((extension) => path + extension),
    path.replace(/\.js$/, ".ts"),
    path.replace(/\.mjs$/, ".mts"),
  ]);
  // The last one: a file that was loaded again under a query is the one whose importer was loaded again.
  return scripts.findLast((each) => each.path !== undefined && names.has(each.path));
}

/** The file of a relative import, or of a package that is a link to the user's own files. */
function pathOf(specifier: string, importer: string): string | undefined {
  if (/^[./]/.test(specifier)) return resolve(dirname(importer), specifier.replace(/\?.*$/s, ""));
  const url = specifier.startsWith("file:")
    ? specifier
    : (resolveFrom(importer, specifier, IMPORT) ?? resolveFrom(importer, specifier, undefined));
  if (url?.startsWith("file:") !== true) return undefined;
  return decodeURIComponent(new URL(url).pathname);
}
