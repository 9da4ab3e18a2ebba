// Vite names packages by the path of their file; the bundle needs the name by which anybody can import it.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { IMPORT, resolveFrom } from "./resolve.ts";

/** "zod" of "/node_modules/zod/index.js" or "/@fs/home/me/node_modules/zod/index.js"; undefined for other imports. */
export function viteSpecifier(written: string, importer: string): string | undefined {
  const [, name = "", inside = ""] =
    /^\/.*\/?node_modules\/((?:@[^/]+\/)?[^/]+)\/([^?]+)/.exec(written) ?? [];
  if (name === "") return undefined;
  const file = fileOf(written.replace(/\?.*$/s, ""), importer);
  if (file === undefined) return undefined;
  const url = pathToFileURL(file).href;
  const folder = file.slice(0, file.length - inside.length);
  const candidates = [
    name,
    ...subpaths(folder, name),
    `${name}/${inside}`,
    `${name}/${inside.replace(/\.\w+$/, "")}`,
  ];
  return candidates.find((each) =>
    [IMPORT, undefined].some((conditions) => resolveFrom(importer, each, conditions) === url),
  );
}

interface VitestWorker {
  readonly evaluatedModules?: {
    readonly fileToModulesMap?: ReadonlyMap<
      string,
      ReadonlySet<{ readonly meta?: { readonly sourceMap?: unknown } }>
    >;
  };
}

/** The source map of a file that vitest runs, which keeps it beside the text; undefined: there is none. */
export function viteSourceMap(path: string | undefined): string | undefined {
  const worker = Reflect.get(globalThis, "__vitest_worker__") as VitestWorker | undefined;
  const modules = worker?.evaluatedModules?.fileToModulesMap?.get(path ?? "");
  const maps = Array.from(modules ?? [], ({ meta }) => meta?.sourceMap);
  return maps.find((map) => typeof map === "string");
}

function fileOf(path: string, importer: string): string | undefined {
  if (path.startsWith("/@fs/")) return path.slice("/@fs".length);
  if (existsSync(path)) return path;
  // Relative to the root of Vite, which is one of the folders above.
  for (let at = dirname(importer); ; at = dirname(at)) {
    if (existsSync(join(at, path))) return join(at, path);
    if (dirname(at) === at) return undefined;
  }
}

function subpaths(folder: string, name: string): readonly string[] {
  try {
    const { exports = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      readonly exports?: object | string;
    };
    const keys = typeof exports === "string" ? [] : Object.keys(exports);
    return keys.filter((key) => key.startsWith("./") && !key.includes("*")).map((key) => name + key.slice(1));
  } catch {
    return [];
  }
}
