// Takes along how the user's files set packages up at their top level, and warns of what cannot be taken along.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import type { Ref } from "../../../containers/closure-format.ts";
import { packageOfImport } from "../../packages.ts";
import { fileOf } from "./exports.ts";
import { freeReferences, specialsIn } from "./free.ts";
import { importOf, importedRef, isOwn } from "./imports.ts";
import { runsUpTo } from "./running.ts";
import type { FunctionNode, PlacedSetUp } from "./scope-types.ts";
import type { Script } from "./script.ts";
import { viteSpecifier } from "./vite.ts";
import type { Walk } from "./walk.ts";

export interface Prepared {
  /** Functions that set packages up, in the order in which they ran here. */
  readonly prepare: readonly Ref[];
  /** For people: what was taken along. */
  readonly notes: readonly string[];
}

/** @param packages names of those that the function uses */
export function prepareSetUps(walk: Walk, packages: ReadonlySet<string>): Prepared {
  const prepare: Ref[] = [];
  const notes: string[] = [];
  for (const script of inOrder(walk.scripts)) {
    loadEffects(script, walk, packages);
    for (const setUp of ownSetUps(script)) {
      const name = packageSetUp(setUp, script);
      if (name === undefined || !packages.has(name) || isTaken(setUp, script, walk)) continue;
      const at = `${name} is set up in ${placeOf(setUp, script)}`;
      const found = reasonAgainst(setUp, script) ?? captureSetUp(setUp, script, walk);
      if (typeof found === "string")
        walk.warnings.push(
          `package ${at}, which a model container does not do, since it ${found}; do it in the option setup`,
        );
      else {
        prepare.push(found);
        notes.push(`package ${at}, and so it is in the model container`);
      }
    }
  }
  return { prepare, notes };
}

/** Imports without names: parts of the packages that are used, and packages made for them. */
function loadEffects(script: Script, walk: Walk, packages: ReadonlySet<string>): void {
  for (const written of isUsers(script) ? script.scopes.effects : []) {
    const specifier = viteSpecifier(written, script.path ?? "") ?? written;
    if (isOwn(specifier)) continue;
    const name = packageOfImport(specifier);
    if (!packages.has(name) && !dependenciesOf(name, script).some((each) => packages.has(each))) continue;
    walk.addPackage(specifier, script);
    walk.modules.add(`${script.isModule || specifier !== written ? "import" : "require"} ${specifier}`);
  }
}

/** Names of the packages that an installed one needs beside it. */
function dependenciesOf(name: string, script: Script): readonly string[] {
  try {
    const require = createRequire(script.path ?? "");
    const folders = require.resolve.paths(name) ?? [];
    const file = folders.map((folder) => join(folder, name, "package.json")).find(existsSync) ?? "";
    const { dependencies, peerDependencies } = JSON.parse(readFileSync(file, "utf8")) as {
      readonly dependencies?: object;
      readonly peerDependencies?: object;
    };
    return Object.keys({ ...dependencies, ...peerDependencies });
  } catch {
    return [];
  }
}

/** The user's files as they ran: what a file imports runs before it. */
function inOrder(scripts: readonly Script[]): readonly Script[] {
  const seen = new Set<Script>();
  const ordered: Script[] = [];
  const add = (script: Script): void => {
    if (seen.has(script) || !isUsers(script)) return;
    seen.add(script);
    for (const specifier of script.scopes.imports) {
      if (!/^(?:\.|\/|file:)/.test(specifier)) continue;
      const imported = fileOf({ script, specifier }, scripts);
      if (imported !== undefined) add(imported);
    }
    ordered.push(script);
  };
  for (const script of scripts) add(script);
  return ordered;
}

/** A user's file whose text is known. */
function isUsers(script: Script): boolean {
  if (script.path === undefined || script.isInternal || script.packageName !== undefined) return false;
  try {
    return script.scopes !== undefined;
  } catch {
    return false;
  }
}

/** Set-ups in a user's file. */
export function ownSetUps(script: Script): readonly PlacedSetUp[] {
  return isUsers(script) ? script.scopes.setUps : [];
}

/** Name of the package that a set-up's root was imported from. */
function packageSetUp({ root }: PlacedSetUp, script: Script): string | undefined {
  const specifier = importOf(root, script)?.specifier;
  return specifier === undefined || isOwn(specifier) ? undefined : packageOfImport(specifier);
}

/** Whether it stands in a function that is taken along itself. */
function isTaken({ start, end }: PlacedSetUp, script: Script, walk: Walk): boolean {
  return walk.drafts.some(
    (draft) => draft.script === script && draft.fn.textStart <= start && end <= draft.fn.end,
  );
}

function placeOf({ start }: PlacedSetUp, script: Script): string {
  const { line, column } = script.placeOf(start);
  const found = script.original(line, column);
  return `${relative(process.cwd(), found?.source ?? script.path ?? "")}:${(found?.line ?? line) + 1}`;
}

function reasonAgainst({ isTop, start, node, end }: PlacedSetUp, script: Script): string | undefined {
  if (!isTop) return "stands in a block or a function, which may not have run";
  if (start > runsUpTo(script)) return "stands after what runs now";
  const special = specialsIn(script.scopes, { textStart: start, end }).find(({ use }) => use !== "this");
  if (special !== undefined) return `uses ${special.use}`;
  return node.type === "ExpressionStatement" ? undefined : "is no statement";
}

/** A function that runs the statement again; or what speaks against it. */
function captureSetUp(setUp: PlacedSetUp, script: Script, walk: Walk): Ref | string {
  const { node, start, end } = setUp;
  const byName = Map.groupBy(freeReferences(script.scopes, { textStart: start, end }), ({ name }) => name);
  const found = [...byName].map(
    ([name, references]) => [name, importedRef(references, script, walk)] as const,
  );
  const [unknown] = found.find(([, ref]) => ref === undefined) ?? [];
  if (unknown !== undefined) return `uses ${unknown}, which is no import of a package`;
  const given = found.filter(
    (entry): entry is readonly [string, Ref] => entry[1] !== undefined && entry[1] !== null,
  );
  const fn: FunctionNode = {
    node,
    textStart: start,
    end,
    kind: "statement",
    isStrict: script.isModule,
    method: undefined,
  };
  const id = walk.reserve();
  walk.drafts.push({ id, kind: "function", script, fn, uses: [], given, edits: [], shape: {} });
  return ["#", id];
}
