// A live function as files of a bundle: walks what it holds, decides what is shared, writes code, state and data.
import { writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { types } from "node:util";
import type { Capture, ClosureState, Ref, StateNode } from "../../../containers/closure-format.ts";
import { packageOfImport } from "../../packages.ts";
import { encodeClass, encodePrivates } from "./classes.ts";
import type { Draft } from "./drafts.ts";
import { CodeFile, cellEdit, cellName } from "./emit.ts";
import { warnOfAdded } from "./globals.ts";
import { refuseForeign } from "./foreign.ts";
import { capturedItems, type CapturedItem } from "./items.ts";
import { encodeFunction } from "./functions.ts";
import { Inspection } from "./inspect.ts";
import { References, type FoundPackage } from "./references.ts";
import { encodeMade } from "./made.ts";
import { captureError } from "./refuse.ts";
import { prepareSetUps } from "./prepare.ts";
import { placePooled } from "./pooled.ts";
import { refuseTemplates } from "./templates.ts";
import { encodeValue } from "./values.ts";
import { Variables, type Variable } from "./variables.ts";
import { memberOf, Walk } from "./walk.ts";
import { drainWeak } from "./weak.ts";

export interface LiveFunction {
  readonly fn: object;
  readonly setup: object | undefined;
  /** The option packages; given, it allows computed imports. */
  readonly packages: Readonly<Record<string, string>> | undefined;
}

/** Names of the files that a live function becomes. */
export const CLOSURE_FILES = {
  codeFile: "functions.cjs",
  packagesFile: "packages.mjs",
  stateFile: "state.json",
  dataFile: "state.bin",
} as const;

export interface Serialized {
  /** Packages by exact version. */
  readonly packages: Readonly<Record<string, string>>;
  /** Folder of the project that has a package installed, by the package's name. */
  readonly projects: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
  /** What else goes along, for people. */
  readonly notes: readonly string[];
  /** Sizes of the files, by name. */
  readonly files: Readonly<Record<string, number>>;
}

/** A function as it was captured; its data still lies where it lay. */
export interface Captured extends Serialized {
  /** What was captured, largest first. */
  items(): readonly CapturedItem[];
  /** Writes the files. */
  write(folder: string): void;
}

/** Captures a function and writes its files into `folder`, in one stretch, so that nothing changes in between. */
export function serialize(live: LiveFunction, folder: string): Serialized {
  const captured = capture(live);
  captured.write(folder);
  return captured;
}

/**
 * Captures a function. Runs in one stretch; calls no code of the user's, not even a getter.
 * @throws InvalidOptionsError with every path that cannot be captured and why
 */
export function capture({ fn, setup, packages }: LiveFunction): Captured {
  const inspection = openInspection();
  try {
    const scripts = inspection.scripts();
    const references = new References(scripts, (value) => {
      const { script } = inspection.describeFunction(value);
      return script !== undefined && !script.isInternal && script.packageName === undefined;
    });
    const declared = packages === undefined ? undefined : Object.keys(packages);
    const walk = new Walk({
      inspection,
      references,
      scripts,
      declared,
      encode,
      encodeClass,
      variables: new Variables(),
    });
    const entry = walk.ref(fn, "fn");
    const setupRef = setup === undefined ? null : walk.ref(setup, "setup");
    drainWeak(walk);
    return finish(walk, { entry, setup: setupRef });
  } finally {
    inspection.close();
  }
}

function openInspection(): Inspection {
  try {
    return new Inspection();
  } catch (cause) {
    throw captureError([
      {
        path: "fn",
        reason: `cannot be read: Node's inspector is not available (${String(cause)})`,
        hint: "run without --permission, or give module and export in place of fn",
      },
    ]);
  }
}

function encode(value: object, path: string, walk: Walk): StateNode | undefined {
  const place = walk.place(value);
  if (place !== undefined) return place;
  if (typeof value === "function") return encodeFunction(value, path, walk);
  const owner = prototypeOwner(value);
  if (owner !== undefined && walk.references.find(owner) === undefined) {
    walk.encodeNow(owner, `${path}.constructor`);
    const known = walk.knownId(value);
    if (known !== undefined && walk.nodes[known] !== undefined) return walk.nodes[known];
  }
  if (types.isModuleNamespaceObject(value)) {
    return encodeModule(value, path, walk);
  }
  return encodeData(value, path, walk);
}

/** A file of the user's as a whole: all that it exports. A package's is imported as a whole. */
function encodeModule(value: object, path: string, walk: Walk): StateNode | undefined {
  const names = Object.keys(value);
  const module = moduleOf(value, names, walk);
  if (module !== undefined) {
    walk.modules.add(module);
    return { kind: "package", module, path: [] };
  }
  const ofPackage = names
    .map((name) => walk.packageOfFunction(memberOf(value, name)))
    .find((name) => name !== undefined);
  if (ofPackage !== undefined)
    return walk.refuse(
      path,
      `is a module of package ${ofPackage} that no file of yours imports by its name`,
      `import it by name: import … from "${ofPackage}"`,
    );
  walk.members(value, names, { path, id: walk.idOf(value, path) });
  return undefined;
}

/** The import whose exports are all found under their names: what `require` gave is not the module that was imported. */
function moduleOf(value: object, names: readonly string[], walk: Walk): string | undefined {
  const places = names
    .map((name) => [name, walk.references.find(memberOf(value, name))] as const)
    .filter(([name, place]) => name !== "default" && place !== undefined);
  const modules = new Set(
    places.map(([, place]) =>
      place?.kind === "package" && place.path.length === 1 ? place.module : undefined,
    ),
  );
  const [module] = modules;
  return modules.size === 1 && module?.startsWith("import ") === true ? module : undefined;
}

function encodeData(value: object, path: string, walk: Walk): StateNode | undefined {
  const made = types.isProxy(value) ? undefined : encodeMade(value, path, walk);
  const node = made === undefined ? encodeValue(value, path, walk) : (made ?? undefined);
  const privates = node === undefined ? undefined : encodePrivates(value, path, walk);
  return privates === undefined ? node : ({ ...node, privates } as StateNode);
}

/** The function whose `prototype` an object is. */
function prototypeOwner(value: object): object | undefined {
  if (types.isProxy(value)) return undefined;
  const constructor: unknown = Object.getOwnPropertyDescriptor(value, "constructor")?.value;
  if (typeof constructor !== "function") return undefined;
  return Object.getOwnPropertyDescriptor(constructor, "prototype")?.value === value ? constructor : undefined;
}

function finish(walk: Walk, ends: Pick<ClosureState, "entry" | "setup">): Captured {
  placePooled(walk);
  refuseUndecided(walk);
  refuseUntraced(walk);
  refuseTemplates(walk);
  const used = new Set(foundPackages(walk).map(({ name }) => name));
  const { prepare, notes } = prepareSetUps(walk, used);
  refuseUninstallable(walk);
  warnOfAdded(walk);
  for (const { members, id } of walk.namespaces) walk.nodes[id] = namespaceNode(walk, members);
  const code = new CodeFile();
  for (const draft of walk.drafts) if (walk.nodes[draft.id] === undefined) emit(draft, walk, code);
  refuseForeign(walk);
  if (walk.problems.length > 0) throw captureError(walk.problems);
  const state: ClosureState = { format: 1, nodes: walk.nodes as StateNode[], prepare, ...ends };
  const map = `${CLOSURE_FILES.codeFile}.map`;
  const texts: Record<string, string> = {
    [CLOSURE_FILES.codeFile]: code.text(map),
    [map]: code.map(CLOSURE_FILES.codeFile),
    [CLOSURE_FILES.packagesFile]: packagesModule(walk.modules),
    [CLOSURE_FILES.stateFile]: JSON.stringify(state),
  };
  const sizes = Object.entries(texts).map(([name, text]) => [name, Buffer.byteLength(text)] as const);
  return {
    ...packagesOf(walk),
    notes,
    warnings: [...walk.warnings, ...walk.secrets.warnings],
    files: { ...Object.fromEntries(sizes), [CLOSURE_FILES.dataFile]: walk.data.size },
    items: () => capturedItems(walk),
    write: (folder) => {
      for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, name), text);
      walk.data.writeSync(join(folder, CLOSURE_FILES.dataFile));
    },
  };
}

function refuseUndecided(walk: Walk): void {
  if (walk.problems.length > 0) return;
  const left = walk.variables.unite(({ of, name }) =>
    of === undefined ? undefined : walk.heap?.contextOf(of, name),
  );
  for (const { path, name } of left)
    walk.refuse(
      path,
      `is written by functions that may share it, which cannot be told from several variables ${name}`,
      "keep it in an object: state.value instead of value",
    );
}

/** An export by value would not see what deployed code writes to its variable, which has the same value now. */
function refuseUntraced(walk: Walk): void {
  for (const { script, variable } of walk.variables.writtenAtTop()) {
    const isExported = [...script.scopes.exports.values()].some(({ local }) => local === variable.name);
    for (const { path, value } of isExported ? walk.untraced : [])
      if (Object.is(value, variable.value))
        walk.refuse(
          path,
          `may be the exported variable ${variable.name}, which the function writes, by a way that cannot be followed`,
          "import it by name at the top of the file",
        );
  }
}

/** The variable's cell where deployed code writes it; else undefined. */
function cellOf(entry: Variable, walk: Walk): Ref | undefined {
  const variable = entry.same ?? entry;
  if (!variable.isWritten) return undefined;
  variable.cell ??= walk.nodes.push({ kind: "cell", value: variable.ref }) - 1;
  return ["#", variable.cell];
}

function namespaceNode(walk: Walk, members: readonly (readonly [string, Variable])[]): StateNode {
  const cells: Capture[] = [];
  const values: Capture[] = [];
  for (const [name, variable] of members) {
    const cell = cellOf(variable, walk);
    (cell === undefined ? values : cells).push([name, cell ?? variable.ref]);
  }
  return { kind: "namespace", members: values, cells };
}

function emit(draft: Draft, walk: Walk, code: CodeFile): void {
  const constants: Capture[] = [...draft.given];
  const late: Capture[] = [];
  const edits = [...draft.edits];
  for (const { variable, references } of draft.uses) {
    const cell = cellOf(variable, walk);
    if (cell !== undefined) {
      constants.push([cellName(variable.name), cell]);
      edits.push(...references.map((reference) => cellEdit({ ...reference, name: variable.name })));
    } else {
      const name = references[0]?.name ?? variable.name;
      (isLate(variable.ref, walk) ? late : constants).push([name, variable.ref]);
    }
  }
  const name = `f${draft.id}`;
  code.add({
    code: name,
    script: draft.script,
    fn: draft.fn,
    edits,
    constants: [...constants.map(([each]) => each), ...(draft.kind === "class" ? ["$wj_blank"] : [])],
    late: late.map(([each]) => each),
  });
  walk.nodes[draft.id] = { ...draft.shape, kind: draft.kind, code: name, constants, late } as StateNode;
}

const EARLY_KINDS: ReadonlySet<string> = new Set(
  (
    "global package require symbol object array numbers map set weakmap weakset date regexp error boxed buffer view url " +
    "parameters cell namespace"
  ).split(" "),
);

/** Whether a value may need the function that captures it to be made before: functions, and instances of classes. */
function isLate(ref: Ref, walk: Walk): boolean {
  if (!Array.isArray(ref) || ref[0] !== "#") return false;
  const node = walk.nodes[ref[1] as number];
  if (node === undefined || !EARLY_KINDS.has(node.kind) || node.privates !== undefined) return true;
  const { proto } = node;
  if (!Array.isArray(proto) || proto[0] !== "#") return false;
  const kind = walk.nodes[proto[1] as number]?.kind;
  return kind !== "global" && kind !== "package";
}

/** A module of the packages that the code uses; it stands in the bundle, so that they resolve from there. */
function packagesModule(modules: ReadonlySet<string>): string {
  const sorted = [...modules].toSorted();
  const split = sorted.map(
    (key) => [key, key.slice(0, key.indexOf(" ")), key.slice(key.indexOf(" ") + 1)] as const,
  );
  const imports = split.map(([, verb, specifier], index) =>
    verb === "import" ? `import * as m${index} from ${JSON.stringify(specifier)};\n` : "",
  );
  const entries = split.map(
    ([key, verb, specifier], index) =>
      `  ${JSON.stringify(key)}: ${verb === "import" ? `m${index}` : `require(${JSON.stringify(specifier)})`},\n`,
  );
  return (
    `import { createRequire } from "node:module";\n${imports.join("")}` +
    `export const require = createRequire(import.meta.url);\nexport const modules = {\n${entries.join("")}};\n`
  );
}

function packagesOf(walk: Walk): Pick<Serialized, "packages" | "projects"> {
  const sorted = foundPackages(walk).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    packages: Object.fromEntries(sorted.map(({ name, version }) => [name, version])),
    projects: Object.fromEntries(sorted.map(({ name, file }) => [name, projectOf(file)])),
  };
}

function refuseUninstallable(walk: Walk): void {
  for (const { name, problem } of foundPackages(walk))
    if (problem !== undefined && walk.declared?.includes(name) !== true)
      walk.refuse(
        `package ${name}`,
        problem,
        "import its files by their path, publish it, or name a version that a registry has in the option packages",
      );
}

function foundPackages(walk: Walk): readonly FoundPackage[] {
  const { references } = walk;
  const found = new Map(
    [...walk.packages.values()].map((each) => [each.name, references.packageNamed(each.name) ?? each]),
  );
  for (const key of walk.modules) {
    const specifier = key.slice(key.indexOf(" ") + 1);
    const known = isBuiltin(specifier) ? undefined : references.packageNamed(packageOfImport(specifier));
    if (known !== undefined) found.set(known.name, known);
  }
  return [...found.values()];
}

function projectOf(file: string): string {
  return file.slice(0, file.lastIndexOf("/node_modules/")) || "/";
}
