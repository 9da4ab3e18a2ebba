// Turns what esbuild found wrong with a user's module into our errors: file, line, the line itself, the way out.
import { dirname, relative, resolve } from "node:path";
import type { Location, Message } from "esbuild";
import {
  InvalidModelFileError,
  isPackageName,
  ModelFileNotFoundError,
  PackageNotFoundError,
  type WindjammerError,
} from "../core/index.ts";
import type { Imports } from "./module-imports.ts";
import { installedVersion, packageOfImport } from "./packages.ts";

/** A build that failed. */
export interface FailedBuild {
  readonly messages: readonly Message[];
  /** The user's module, absolute. */
  readonly path: string;
  /** Name of the generated module that re-exports from it; empty: none. */
  readonly entry: string;
  /** What that one asks for. */
  readonly exports: readonly string[];
  readonly imports: Imports;
  /** Exports there are; undefined when unknown. */
  listExports(): Promise<readonly string[] | undefined>;
}

export async function buildError(failed: FailedBuild): Promise<WindjammerError> {
  const [first, ...others] = failed.messages;
  if (first === undefined) return new InvalidModelFileError(`${failed.path} cannot be bundled`);
  const { location, text } = first;
  if (failed.entry !== "" && location?.file === failed.entry) {
    return missingExport({ ...failed, existing: (await failed.listExports()) ?? [] });
  }
  const folder = dirname(failed.path);
  const where = place(location, folder);
  const details =
    location === null ? {} : { file: location.file, line: location.line, column: location.column };
  const specifier = /^Could not resolve "(.+)"$/.exec(text)?.[1];
  if (specifier !== undefined && failed.imports.unresolved.has(specifier)) {
    return unresolvedImport({ specifier, where, message: first, folder, details });
  }
  const more = others.length === 0 ? "" : `\n(and ${others.length} more)`;
  return new InvalidModelFileError(`${where}: ${text}${lineOf(location)}${more}`, { details });
}

/** The line in question, below the message; at the end of a file there is none to show. */
function lineOf(location: Location | null): string {
  const line = location?.lineText.trim() ?? "";
  return line === "" ? "" : `\n  ${line}`;
}

/** "src/sum.ts:3:14", from the current folder where it lies inside. */
export function place(location: Location | null, folder: string): string {
  if (location === null) return "the module";
  const path = resolve(folder, location.file);
  const near = relative(process.cwd(), path);
  return `${near.startsWith("..") ? path : near}:${location.line}:${location.column + 1}`;
}

/** For a module that has not all of `exports`, but `existing`. */
export function missingExport(failed: {
  readonly path: string;
  readonly exports: readonly string[];
  readonly existing: readonly string[];
}): ModelFileNotFoundError {
  const missing = failed.exports.find((name) => !failed.existing.includes(name)) ?? "";
  const sorted = nearestFirst(failed.existing, missing);
  const advice =
    sorted[0] === undefined
      ? "it exports nothing; write `export` in front of the function"
      : `it exports ${sorted.map((name) => `"${name}"`).join(", ")}; name one of them, such as export: "${sorted[0]}" (--export ${sorted[0]})`;
  return new ModelFileNotFoundError(`${failed.path} has no export "${missing}": ${advice}`, {
    details: { path: failed.path, export: missing, exports: sorted },
  });
}

/** Names that share most with the wanted one first. */
function nearestFirst(names: readonly string[], wanted: string): string[] {
  const word = wanted.toLowerCase();
  const rank = (name: string): number => {
    const other = name.toLowerCase();
    if (other === word) return 0;
    if (other.includes(word) || word.includes(other)) return 1;
    return name === "default" ? 3 : 2;
  };
  return names.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

async function unresolvedImport(at: {
  readonly specifier: string;
  readonly where: string;
  readonly message: Message;
  readonly folder: string;
  readonly details: { readonly [key: string]: unknown };
}): Promise<WindjammerError> {
  const { specifier, where, message } = at;
  const name = packageOfImport(specifier);
  const version = await installedVersion(name, at.folder);
  const details = { ...at.details, package: name };
  if (version !== undefined) {
    const reason = message.notes[0]?.text.replace(/:$/, "") ?? "it has no such file";
    return new InvalidModelFileError(
      `${where}: "${specifier}" cannot be imported from ${name} ${version}, which is installed here: ${reason}`,
      { details },
    );
  }
  if (!isPackageName(name)) {
    return new InvalidModelFileError(
      `${where}: "${specifier}" is neither a file nor a package; a file's import begins with ./ or ../, or is a path of tsconfig.json`,
      { details },
    );
  }
  return new PackageNotFoundError(
    `${where}: package "${name}" is imported, but not installed; run \`npm install ${name}\`, or declare its version, as in packages: { "${name}": "1.0.0" }`,
    { details },
  );
}
