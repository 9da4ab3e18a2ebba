// Where an import or a require of a file leads to, without loading anything.
import { createRequire, registerHooks } from "node:module";
import { pathToFileURL } from "node:url";

/** Conditions of an import. */
export const IMPORT: readonly string[] = ["node", "import", "module-sync", "node-addons"];
const RESOLVE = "windjammer-resolve:";

/** Thrown by the resolve hook to stop a module from being loaded just because it was looked up. */
class NotLoaded extends Error {}

/** URL that an import of `specifier` in the file leads to; with `conditions` as ES modules import, else as require. */
export function resolveFrom(
  file: string,
  specifier: string,
  conditions: readonly string[] | undefined,
): string | undefined {
  try {
    const require = createRequire(file);
    if (conditions === undefined) return pathToFileURL(require.resolve(specifier)).href;
    return resolveAsImport(require, specifier, {
      conditions: [...conditions],
      parentURL: pathToFileURL(file).href,
    });
  } catch {
    return undefined;
  }
}

function resolveAsImport(
  require: NodeJS.Require,
  specifier: string,
  context: { readonly conditions: string[]; readonly parentURL: string },
): string | undefined {
  let url: string | undefined;
  const hooks = registerHooks({
    resolve(asked, given, next) {
      if (asked !== RESOLVE) return next(asked, given);
      ({ url } = next(specifier, { ...given, ...context }));
      throw new NotLoaded();
    },
  });
  try {
    require(RESOLVE);
  } catch {
    // The hook stops before anything is loaded.
  } finally {
    hooks.deregister();
  }
  return url;
}
