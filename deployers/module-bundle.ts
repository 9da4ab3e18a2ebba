// Turns a user's module into one ES module of a bundle: his own files inside, packages outside with their versions.
import { realpath, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import type { BuildOptions, BuildResult, Message, Metafile } from "esbuild";
import { InvalidModelFileError, type BundleReport } from "../core/index.ts";
import { fileSize, toPath } from "./location.ts";
import { Imports, importPlugin } from "./module-imports.ts";
import { buildError, missingExport, place, type FailedBuild } from "./module-errors.ts";
import { checkExact } from "./packages.ts";

export interface ModuleSource {
  /** The module: `locationSchema`. */
  readonly module: string | URL;
  /** Named exports that the bundle must have. */
  readonly exports: readonly string[];
  /** Declared packages: over the installed versions, and beside the imported ones. */
  readonly packages: Readonly<Record<string, string>> | undefined;
}

export interface BundledModule {
  /** Packages to install, by exact version: the imported ones and the declared ones. */
  readonly packages: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

const MODULE_EXTENSIONS: readonly string[] = [".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"];
const ENTRY = "windjammer-entry.js";

/** Gives CommonJS modules inside the bundle a `require`; esbuild renames a user's own of that name. */
const REQUIRE_BANNER =
  'import { createRequire as windjammerRequire } from "node:module"; const require = windjammerRequire(import.meta.url);';

/**
 * Writes `module` as `fileName` and its source map (names of files, not their text) into `folder`. The bytes depend
 * on the sources and their places relative to each other only, not on where they lie.
 * @throws ModelFileNotFoundError for the file or an export, InvalidModelFileError, PackageNotFoundError, InvalidOptionsError
 */
export async function bundleModule(
  source: ModuleSource,
  target: { readonly folder: string; readonly fileName: string },
  report: BundleReport,
): Promise<BundledModule> {
  const path = await modulePath(source.module);
  const folder = dirname(path);
  const declared = source.packages ?? {};
  await checkExact(declared, folder);
  const imports = new Imports(declared);
  const names = source.exports.map((name) => JSON.stringify(name)).join(", ");
  const settings: BuildOptions = {
    ...commonOptions(folder, imports),
    stdin: {
      contents: `export { ${names} } from ${JSON.stringify(`./${basename(path)}`)};\n`,
      resolveDir: folder,
      sourcefile: ENTRY,
    },
    outfile: join(folder, target.fileName),
  };
  const what = { path, entry: ENTRY, imports, exports: source.exports };
  let result = await build(settings, what);
  // A file without a single import or export is taken for CommonJS that exports nothing.
  if (result.metafile?.inputs[basename(path)]?.format === undefined) {
    throw missingExport({ ...what, existing: [] });
  }
  if (source.packages === undefined) refuseComputedImports(result.warnings, folder);
  if (callsRequire(result)) result = await build({ ...settings, banner: { js: REQUIRE_BANNER } }, what);
  for (const file of result.outputFiles ?? []) {
    await writeFile(join(target.folder, basename(file.path)), file.contents);
  }
  const { packages, missing } = imports.used(externalImports(result.metafile));
  report(`bundled ${basename(path)} ${listPackages(packages)}`, { file: target.fileName });
  return {
    packages,
    notes: missing.map(
      (name) => `package ${name} is imported in a try block and not installed; it is left out of the bundle`,
    ),
  };
}

/**
 * Names a module exports; undefined when they cannot be told without running it (CommonJS).
 * @throws as `bundleModule`
 */
export async function moduleExports(
  module: string | URL,
  packages: Readonly<Record<string, string>> | undefined,
): Promise<readonly string[] | undefined> {
  const path = await modulePath(module);
  const folder = dirname(path);
  const imports = new Imports(packages ?? {});
  const result = await build(
    { ...commonOptions(folder, imports), entryPoints: [path], outfile: join(folder, "exports.mjs") },
    { path, entry: "", imports, exports: [] },
  );
  return exportsOf(result.metafile, basename(path));
}

function exportsOf(metafile: Metafile | undefined, file: string): readonly string[] | undefined {
  if (metafile?.inputs[file]?.format === "cjs") return undefined;
  return Object.values(metafile?.outputs ?? {}).find((output) => output.entryPoint !== undefined)?.exports;
}

/** Absolute, with links resolved, as esbuild names it. */
async function modulePath(module: string | URL): Promise<string> {
  const path = toPath(module);
  await fileSize(path, "module");
  if (!MODULE_EXTENSIONS.includes(extname(path))) {
    throw new InvalidModelFileError(
      `${path} is no module; expected a file that ends in ${MODULE_EXTENSIONS.join(", ")}`,
      { details: { path } },
    );
  }
  return realpath(path);
}

function commonOptions(folder: string, imports: Imports): BuildOptions {
  return {
    absWorkingDir: folder,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    write: false,
    metafile: true,
    sourcemap: "linked",
    sourcesContent: false,
    charset: "utf8",
    logLevel: "silent",
    logOverride: {
      "unsupported-require-call": "warning",
      "unsupported-dynamic-import": "warning",
      "indirect-require": "warning",
    },
    define: { __dirname: "import.meta.dirname", __filename: "import.meta.filename" },
    plugins: [importPlugin(imports)],
  };
}

async function build(
  options: BuildOptions,
  what: Omit<FailedBuild, "messages" | "listExports">,
): Promise<BuildResult> {
  // Heavy: loaded only where something is bundled.
  const esbuild = await import("esbuild");
  try {
    return await esbuild.build(options);
  } catch (error) {
    const messages = (error as { readonly errors?: readonly Message[] }).errors;
    if (messages === undefined) throw error;
    throw await buildError({
      ...what,
      messages,
      listExports: () => moduleExports(what.path, what.imports.declared),
    });
  }
}

/** Whether esbuild's stand-in for `require` is in the output: it calls a real one where it finds one. */
function callsRequire(result: BuildResult): boolean {
  return (result.outputFiles ?? []).some(({ text }) => text.includes("var __require = "));
}

function externalImports(metafile: Metafile | undefined): readonly string[] {
  return Object.values(metafile?.outputs ?? {}).flatMap((output) =>
    output.imports.filter(({ external }) => external === true).map(({ path }) => path),
  );
}

function listPackages(packages: Readonly<Record<string, string>>): string {
  const list = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
  return list.length === 0 ? "without packages" : `with ${list.join(", ")}`;
}

/** What a computed import loads cannot be known here, so a user who has one says which packages it may need. */
function refuseComputedImports(warnings: readonly Message[], folder: string): void {
  const computed = warnings.find(({ id }) => COMPUTED_IMPORTS.has(id));
  if (computed === undefined) return;
  throw new InvalidModelFileError(
    `${place(computed.location, folder)}: the name in this import or require is computed, so what it loads cannot be bundled; ` +
      "write the name as a literal, or declare the packages it may load in the option packages ({} when there are none)",
    { details: { line: computed.location?.line, text: computed.location?.lineText } },
  );
}

const COMPUTED_IMPORTS: ReadonlySet<string> = new Set([
  "unsupported-require-call",
  "unsupported-dynamic-import",
  "indirect-require",
]);
