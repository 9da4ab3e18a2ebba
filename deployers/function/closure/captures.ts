// One captured name of one function: where its value comes from, and whether it goes by value or by reference.
import { types } from "node:util";
import { isBuiltin } from "node:module";
import type { Ref } from "../../../containers/closure-format.ts";
import { exportedVariable, type ScriptVariable } from "./exports.ts";
import type { Source } from "./drafts.ts";
import { captureGlobal, refuseOwnGlobals } from "./globals.ts";
import type { FunctionFacts } from "./inspect.ts";
import { importText, isRequire } from "./modules.ts";
import { HINTS } from "./refuse.ts";
import type { Reference } from "./scope-types.ts";
import { literalText, type Ast } from "./syntax.ts";
import { newVariable, type Variable, type VariableUse } from "./variables.ts";
import type { Walk } from "./walk.ts";

export interface CapturePlace {
  readonly source: Source;
  readonly path: string;
  readonly walk: Walk;
}

/** What loaders make of imports and exports; their members are captured, not the whole. */
const WRAPPER =
  /^(?:__vi_import_\d+__|__vite_ssr_import_\d+__|import_\w+|\w+_\d+|exports|module|__vite_ssr_exports__)$/;

/** @returns undefined for a name that means the same in the container: a global */
export function captureName(references: readonly Reference[], place: CapturePlace): VariableUse | undefined {
  const [first] = references;
  const { source, walk } = place;
  if (first === undefined) return undefined;
  const { name } = first;
  const path = `${place.path} → ${name}`;
  const at = source.facts.scopes.findIndex((each) => Object.hasOwn(each, name));
  const values = source.facts.scopes[at];
  if (values === undefined) return absent(references, place, path);
  if (isUnset(name, at, source.facts))
    return walk.refuse(path, "has no value yet: its declaration has not run", "deploy after it");
  return captureValue(references, place, { value: values[name], path });
}

function captureValue(
  references: readonly Reference[],
  place: CapturePlace,
  { value, path }: { readonly value: unknown; readonly path: string },
): VariableUse | undefined {
  const { walk } = place;
  const [{ name, scope } = { name: "", scope: undefined }] = references;
  if (isRequire(value)) requireTexts(references, place, path);
  if (value === globalThis) refuseOwnGlobals(references, walk, path);
  if (scope === undefined && (name === "__dirname" || name === "__filename"))
    return walk.refuse(path, "names a folder of this machine", HINTS.plain);
  const declaration = scope?.names.get(name);
  if (declaration !== undefined && declaration.type.startsWith("Import"))
    return captureImport(references, place, { declaration, value, path });
  const members = walk.references.find(value) === undefined ? membersOf(references, value, name) : undefined;
  if (members !== undefined)
    return fresh(references, { value, path, ref: walk.members(value as object, members, { path }) });
  return captureVariable(references, place, { value, path });
}

/** Newer versions of Node throw where a variable is read before its declaration has run, older ones give undefined. */
function isUnset(name: string, at: number, { scopes, unset }: FunctionFacts): boolean {
  try {
    return scopes[at]?.[name] === undefined && unset(at).has(name);
  } catch {
    return true;
  }
}

/** A variable of the text around the function; a write makes it one that functions share. */
function captureVariable(
  references: readonly Reference[],
  { source, walk }: CapturePlace,
  { value, path }: { readonly value: unknown; readonly path: string },
): VariableUse {
  const [{ name, scope } = { name: "", scope: undefined }] = references;
  const isWritten = references.some((each) => each.isWritten);
  const make = (): Variable => newVariable({ name, value, path, ref: walk.ref(value, path), of: source.of });
  const variable =
    scope === undefined
      ? make()
      : walk.variables.at({ script: source.script, scope, name, instance: undefined }, make);
  variable.isWritten ||= isWritten;
  if (isWritten && source.script.packageName !== undefined)
    walk.refuse(
      path,
      `is a variable that package ${source.script.packageName} writes`,
      "call the package inside the function or in setup",
    );
  return { variable, references };
}

function fresh(
  references: readonly Reference[],
  { value, path, ref }: { readonly value: unknown; readonly path: string; readonly ref: Ref },
): VariableUse {
  return { variable: newVariable({ name: references[0]?.name ?? "", value, path, ref }), references };
}

/** A name without a value around the function: a global, or one that V8 has not kept. */
function absent(references: readonly Reference[], place: CapturePlace, path: string): undefined {
  const { walk } = place;
  const [{ scope } = { scope: undefined }] = references;
  if (scope !== undefined) return walk.refuse(path, "has no value that can be read here", HINTS.plain);
  captureGlobal(references, walk, path);
  return undefined;
}

function requireTexts(references: readonly Reference[], place: CapturePlace, path: string): void {
  for (const { argument, member, start } of references) {
    if (member !== undefined) continue;
    const { line } = place.source.script.placeOf(start);
    importText(argument, { path, at: `line ${line + 1}`, script: place.source.script }, place.walk);
  }
}

/** Members that the text reads of an import's namespace or a module's exports; undefined: it needs the whole. */
function membersOf(
  references: readonly Reference[],
  value: unknown,
  name: string,
): readonly string[] | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (!types.isModuleNamespaceObject(value) && !(WRAPPER.test(name) && isWrapper(value))) return undefined;
  const members = references.map(({ member }) => member);
  return members.every((member) => member !== undefined) ? [...new Set(members)] : undefined;
}

/** Exports have no class of their own; a list or an instance named `model_1` is data. */
function isWrapper(value: object): boolean {
  if (types.isProxy(value)) return true;
  const proto: unknown = Object.getPrototypeOf(value);
  return (
    !Array.isArray(value) &&
    (proto === null ||
      proto === Object.prototype ||
      value instanceof process.getBuiltinModule("node:module").Module)
  );
}

interface Imported {
  readonly declaration: Ast;
  readonly value: unknown;
  readonly path: string;
}

function captureImport(
  references: readonly Reference[],
  place: CapturePlace,
  { declaration, value, path }: Imported,
): VariableUse {
  const { walk, source } = place;
  const specifier = literalText(declaration.source ?? undefined) ?? "";
  const imported = importedName(declaration);
  if (isBuiltin(specifier) || walk.references.packageOf(specifier, source.script) !== undefined) {
    walk.addPackage(specifier, source.script);
    const ref = walk.packageRef(`import ${specifier}`, imported === undefined ? [] : [imported]);
    return fresh(references, { value, path, ref });
  }
  if (imported === undefined) {
    const members = membersOf(references, value, "") ?? Object.keys(value as object);
    return fresh(references, {
      value,
      path,
      ref: walk.members(value as object, members, { path, from: { specifier, script: source.script } }),
    });
  }
  const target = exportedVariable({ script: source.script, specifier, name: imported }, walk.scripts);
  if (target === undefined) {
    walk.untraced.push({ path, value });
    return fresh(references, { value, path, ref: walk.ref(value, path) });
  }
  return { variable: sharedVariable(target, { value, path }, walk), references };
}

/** The variable behind an export, shared with the functions of its own file. */
function sharedVariable(
  { script, name }: ScriptVariable,
  { value, path }: { readonly value: unknown; readonly path: string },
  walk: Walk,
): Variable {
  const scope = script.scopes.program;
  const variable = walk.variables.at({ script, scope, name, instance: undefined }, () =>
    newVariable({ name, value, path, ref: walk.ref(value, path) }),
  );
  return variable;
}

/** Name of the export; undefined: the whole namespace. */
function importedName({ type, imported }: Ast): string | undefined {
  if (type === "ImportNamespaceSpecifier") return undefined;
  if (type === "ImportDefaultSpecifier") return "default";
  return imported?.name ?? literalText(imported);
}
