// Names at the top level of a user's file that stand for imports, and how the bundle's code gets the same again.
import { createRequire, isBuiltin } from "node:module";
import {
  CONFIGURABLE,
  ENUMERABLE,
  WRITABLE,
  type Property,
  type Ref,
  type StateNode,
} from "../../../containers/closure-format.ts";
import { captureGlobal } from "./globals.ts";
import type { Reference } from "./scope-types.ts";
import type { Script } from "./script.ts";
import { LOADERS } from "./set-ups.ts";
import { children, literalText, type Ast } from "./syntax.ts";
import { viteSpecifier } from "./vite.ts";
import type { Walk } from "./walk.ts";

/** Where a name of the top level was imported from, and which part of the module it is. */
interface Imported {
  readonly specifier: string;
  readonly verb: "import" | "require";
  readonly path: readonly string[];
  /** Whether compilers have put the module's exports into an object of theirs. */
  readonly isWrapped: boolean;
}

/** @returns undefined for what is no import, or a file's own variable */
export function importOf(name: string, script: Script): Imported | undefined {
  const declaration = script.scopes.program.names.get(name);
  if (declaration?.type.startsWith("Import") === true) {
    const specifier = literalText(declaration.source ?? undefined) ?? "";
    const imported = declaration.imported?.name ?? literalText(declaration.imported) ?? "default";
    const path = declaration.type === "ImportNamespaceSpecifier" ? [] : [imported];
    return { specifier, verb: "import", path, isWrapped: false };
  }
  return declaration?.declarations === undefined
    ? undefined
    : required(name, declaration.declarations, script);
}

function required(name: string, declarations: readonly Ast[], script: Script): Imported | undefined {
  for (const { id, init } of declarations) {
    const path = id ? boundPath(id, name) : undefined;
    if (path !== undefined && init) return loaded(init, path, script);
  }
  return undefined;
}

function loaded(init: Ast, path: readonly string[], script: Script): Imported | undefined {
  const call = loadingCall(init);
  const written = literalText(call?.arguments?.[0]);
  if (written === undefined) return undefined;
  const verb = call?.callee?.name === "require" ? "require" : "import";
  const specifier = viteSpecifier(written, script.path ?? "") ?? written;
  return { specifier, verb, path, isWrapped: call !== init };
}

/** The member of the value that a pattern gives a name; undefined: it does not. */
function boundPath(pattern: Ast, name: string): readonly string[] | undefined {
  if (pattern.name === name) return [];
  const property = pattern.properties?.find(({ value }) => (value as Ast | undefined)?.name === name);
  return property?.key?.name === undefined ? undefined : [property.key.name];
}

function loadingCall(node: Ast): Ast | undefined {
  if (node.type === "CallExpression" && LOADERS.has(node.callee?.name)) return node;
  if (!["CallExpression", "AwaitExpression"].includes(node.type)) return undefined;
  return children(node)
    .map(loadingCall)
    .find((each) => each !== undefined);
}

/** Whether a specifier leads to a builtin module or to a file of the user's, by its form. */
export function isOwn(specifier: string): boolean {
  return isBuiltin(specifier) || /^(?:\.{0,2}\/|file:|data:|#|\.{1,2}$)/.test(specifier);
}

/** @returns null for a global; undefined for what is neither that nor imported */
export function importedRef(references: readonly Reference[], script: Script, walk: Walk): Ref | undefined {
  const [{ name, scope } = { name: "", scope: undefined }] = references;
  if (scope === undefined) return globalRef(references, script, walk);
  if (scope !== script.scopes.program) return undefined;
  const imported = importOf(name, script);
  if (imported === undefined || (isOwn(imported.specifier) && !isBuiltin(imported.specifier)))
    return undefined;
  const { specifier, verb, path, isWrapped } = imported;
  walk.addPackage(specifier, script);
  const module = `${verb} ${specifier}`;
  if (!isWrapped || verb === "import") return walk.packageRef(module, path);
  return wrappedRef(references, { module, script, specifier }, walk);
}

/** What compilers make of `require`: an object with the module's exports as default, unless it came from a compiler, too. */
function wrappedRef(
  references: readonly Reference[],
  {
    module,
    script,
    specifier,
  }: { readonly module: string; readonly script: Script; readonly specifier: string },
  walk: Walk,
): Ref | undefined {
  const names = new Set(references.map(({ member }) => member));
  if (names.has(undefined)) return undefined;
  const isCompiled = hasCompiledExports(specifier, script);
  const properties = Array.from(names, (name = ""): Property => {
    const path = name === "default" && !isCompiled ? [] : [name];
    return [name, WRITABLE | ENUMERABLE | CONFIGURABLE, walk.packageRef(module, path)];
  });
  const node: StateNode = { kind: "object", properties };
  return ["#", walk.nodes.push(node) - 1];
}

function hasCompiledExports(specifier: string, script: Script): boolean {
  const require = createRequire(script.path ?? import.meta.url);
  const exported: unknown = require.cache[require.resolve(specifier)]?.exports;
  return typeof exported === "object" && exported !== null && Object.hasOwn(exported, "__esModule");
}

function globalRef(references: readonly Reference[], script: Script, walk: Walk): Ref | undefined {
  const [{ name } = { name: "" }] = references;
  if (name !== "require") {
    const before = walk.problems.length;
    captureGlobal(references, walk, "");
    const isRefused = walk.problems.length > before;
    walk.problems.splice(before);
    return isRefused || !Object.hasOwn(globalThis, name) ? undefined : null;
  }
  const names = references.map(({ argument }) => argument);
  if (names.some((each) => typeof each !== "string" || isOwn(each))) return undefined;
  for (const each of names) walk.addPackage(each ?? "", script);
  return ["#", walk.nodes.push({ kind: "require" }) - 1];
}
