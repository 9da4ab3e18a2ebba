// Nodes of functions: finds their text, captures the names it takes from outside, and says what cannot be moved.
import { types } from "node:util";
import type { StateNode } from "../../../containers/closure-format.ts";
import { captureName, type CapturePlace } from "./captures.ts";
import type { Source } from "./drafts.ts";
import type { Edit } from "./emit.ts";
import { hostPlace } from "./globals.ts";
import type { FunctionFacts } from "./inspect.ts";
import { importText, isRequire } from "./modules.ts";
import { HINTS } from "./refuse.ts";
import { freeReferences, freeSpecials, specialsIn } from "./free.ts";
import type { FunctionNode, Reference, Special } from "./scope-types.ts";
import type { Script } from "./script.ts";
import { isBuiltinKind, shapeOf } from "./values.ts";
import { newVariable, type VariableUse } from "./variables.ts";
import type { Walk } from "./walk.ts";

/** Text of a function of the user's or of a package; undefined when it was refused. */
function sourceOf(value: object, path: string, walk: Walk): Source | undefined {
  const facts = walk.inspection.describeFunction(value);
  const { script } = facts;
  if (script === undefined)
    return walk.refuse(path, "is a native function, which has no JavaScript text", HINTS.setup);
  if (script.isInternal)
    return walk.refuse(path, "is a function of Node itself, made for this process", HINTS.setup);
  walk.references.addImports(script);
  try {
    const text = Function.prototype.toString.call(value);
    const fn = script.functionAt(facts.offset, text);
    if (fn !== undefined) return { of: value, script, fn, facts };
    return walk.refuse(path, "has a text that is not found in its file", "write it in a file, not with eval");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return walk.refuse(
      path,
      `stands in ${script.url}, which cannot be parsed (${reason})`,
      "write it in a plain file",
    );
  }
}

function encodeBound(facts: FunctionFacts, path: string, walk: Walk): StateNode | undefined {
  const { bound } = facts;
  if (bound === undefined) return undefined;
  return {
    kind: "bound",
    target: walk.ref(bound.target, `${path} (bound function)`),
    self: walk.ref(bound.self, `${path} (bound this)`),
    parameters: bound.parameters.map((each, index) => walk.ref(each, `${path} (bound argument ${index})`)),
  };
}

/** What a text cannot take along, wherever it stands. */
export function refuseSpecials(source: Source, path: string, walk: Walk): void {
  const { script, fn } = source;
  refuseOurNames(source, path, walk);
  for (const special of specialsIn(script.scopes, fn)) refuseInText(special, { source, path, walk });
  if (fn.kind === "class") return;
  if (specialsIn(script.scopes, fn).some(({ use, owner }) => use === "super" && owner === fn.node.start))
    walk.refuse(path, "uses super, which belongs to its object", "write it as a method of a class");
  for (const { use, start, owner } of freeSpecials(script.scopes, fn)) {
    const isModuleThis = use === "this" && owner === -1 && script.isModule;
    if (isModuleThis || IN_TEXT.has(use) || isOuterThis(use, fn)) continue;
    walk.refuse(path, `uses ${outerName(use)} (${lineOf(script, start)})`, outerHint(use));
  }
}

/** Names of the code file's own would hide the user's, or his them. */
function refuseOurNames({ script, fn }: Source, path: string, walk: Walk): void {
  const [name] = /\$wj_\w*/.exec(script.source.slice(fn.node.start, fn.end)) ?? [];
  if (name !== undefined)
    walk.refuse(path, `has ${name} in its text, a name that its code file needs`, "choose another name");
}

function outerName(use: Special["use"]): string {
  return use === "private" ? "a private name of its class" : `the ${use} of the function around it`;
}

function outerHint(use: Special["use"]): string {
  return use === "private"
    ? "make it a method of the class (inc() { … } in place of inc = () => …), and call it on its object"
    : "capture what it needs in a const, or pass it as an argument";
}

/** The `this` of an arrow function is a value like any other that it captures. */
function isOuterThis(use: Special["use"], { kind }: FunctionNode): boolean {
  return use === "this" && kind === "arrow";
}

const THIS = "$wj_this";

interface OuterThis {
  readonly uses: readonly VariableUse[];
  readonly edits: readonly Edit[];
}

function captureThis({ of, script, fn }: Source, path: string, walk: Walk): OuterThis {
  const found = freeSpecials(script.scopes, fn).filter(
    ({ use, owner }) => isOuterThis(use, fn) && !(owner === -1 && script.isModule),
  );
  const [first] = found;
  if (first === undefined) return { uses: [], edits: [] };
  const value = walk.heap?.outerThis(of);
  const at = `${path} → this`;
  if (value === undefined)
    walk.refuse(
      at,
      `is the this of the function around it (${lineOf(script, first.start)}), which cannot be read here`,
      "capture what it needs in a const, or pass it as an argument",
    );
  const variable = newVariable({ name: THIS, value, path: at, ref: walk.ref(value, at), of });
  return {
    uses: [{ variable, references: [] }],
    edits: found.map(({ start }) => ({ start, end: start + "this".length, text: THIS })),
  };
}

/** Uses that are judged wherever they stand, not by what is around the function. */
const IN_TEXT: ReadonlySet<string> = new Set(["eval", "with", "import.meta", "import()"]);

function refuseInText(
  { use, start, text }: Special,
  { source, path, walk }: { readonly source: Source; readonly path: string; readonly walk: Walk },
): void {
  const { script } = source;
  const at = lineOf(script, start);
  if (use === "eval" || use === "with")
    walk.refuse(path, `uses ${use} (${at}), which can reach any variable`, "write it without");
  else if (use === "import.meta")
    walk.refuse(path, `uses import.meta (${at}), which is another one in the container`, HINTS.plain);
  else if (use === "import()") importText(text, { path, at, script }, walk);
}

function lineOf(script: Script, offset: number): string {
  const { line, column } = script.placeOf(offset);
  return `line ${(script.original(line, column)?.line ?? line) + 1}`;
}

export function encodeFunction(value: object, path: string, walk: Walk): StateNode | undefined {
  if (types.isProxy(value)) return walk.refuse(path, "is a Proxy, whose handler stays hidden", HINTS.plain);
  const facts = walk.inspection.describeFunction(value);
  const host = isOfNode(facts, walk) ? hostPlace(value) : undefined;
  if (host !== undefined) return { kind: "global", path: host };
  if (facts.bound !== undefined) {
    const node = encodeBound(facts, path, walk);
    return node && ({ ...node, ...functionShape(value, path, walk) } as StateNode);
  }
  if (isRequire(value)) return { kind: "require" };
  const source = sourceOf(value, path, walk);
  if (source === undefined) return undefined;
  if (source.fn.kind === "class") return walk.encodeClass(value, source, path);
  const id = walk.idOf(value, path);
  refuseSpecials(source, path, walk);
  const { script, fn } = source;
  const uses = captures(freeReferences(script.scopes, fn), { source, path, walk });
  const self = captureThis(source, path, walk);
  const edits = [...ownNameEdits(fn, uses), ...self.edits];
  const shape = functionShape(value, path, walk);
  walk.drafts.push({
    id,
    kind: "function",
    script,
    fn,
    uses: [...uses, ...self.uses],
    given: [],
    edits,
    shape,
  });
  return undefined;
}

/** Whether a function, or what it is bound to, is Node's or V8's own. */
function isOfNode({ script, bound }: FunctionFacts, walk: Walk): boolean {
  if (bound === undefined) return script === undefined || script.isInternal;
  const { target } = bound;
  return typeof target === "function" && isOfNode(walk.inspection.describeFunction(target), walk);
}

/** A declaration that uses its own name means the variable, which may hold something else by now. */
function ownNameEdits({ node }: FunctionNode, uses: readonly VariableUse[]): readonly Edit[] {
  const { id } = node;
  if (node.type !== "FunctionDeclaration" || !id) return [];
  return uses.some(({ variable }) => variable.name === id.name)
    ? [{ start: id.start, end: id.end, text: " " }]
    : [];
}

/** Names by which these references go out of the function, each with its variable. */
export function captures(references: readonly Reference[], place: CapturePlace): readonly VariableUse[] {
  const byName = new Map<string, Reference[]>();
  for (const reference of references) {
    const list = byName.get(reference.name) ?? [];
    byName.set(reference.name, list);
    list.push(reference);
  }
  return [...byName.values()].map((list) => captureName(list, place)).filter((use) => use !== undefined);
}

/** Own properties, and the prototype object that instances of a plain function have. */
export function functionShape(value: object, path: string, walk: Walk): Partial<StateNode> {
  const prototype: unknown = Object.getOwnPropertyDescriptor(value, "prototype")?.value;
  const isOwn = isOwnPrototype(value, prototype, walk);
  if (isOwn) encodePrototype(value, prototype as object, { path, walk });
  const keys = Reflect.ownKeys(value).filter(
    (key) => !["prototype", "arguments", "caller"].includes(key as string),
  );
  const proto = Object.getPrototypeOf(value) as object | null;
  if (isReplacedPrototype(value, isOwn)) keys.push("prototype");
  const shape = shapeOf(value, { keys, path }, walk);
  return isFunctionPrototype(proto) ? shape : { ...shape, proto: walk.ref(proto, `${path}.[[Prototype]]`) };
}

/** Whether it is made together with the function; any other is an object that was put in its place, perhaps shared. */
function isOwnPrototype(value: object, prototype: unknown, walk: Walk): boolean {
  if (typeof prototype !== "object" || prototype === null || types.isProxy(prototype)) return false;
  const known = walk.nodes[walk.knownId(prototype) ?? -1];
  if (known !== undefined && (known.kind !== "prototype" || known.of !== walk.knownId(value))) return false;
  if (types.isGeneratorFunction(value)) return true;
  return (
    Object.getOwnPropertyDescriptor(prototype, "constructor")?.value === value &&
    !isBuiltinKind(prototype) &&
    walk.inspection.privateFields(prototype).length === 0
  );
}

/** Classes have theirs for good; a function's can be another object, and be fixed. */
function isReplacedPrototype(value: object, isOwn: boolean): boolean {
  const descriptor = Object.getOwnPropertyDescriptor(value, "prototype");
  if (descriptor === undefined) return false;
  return !isOwn || (descriptor.writable === false && !isClass(value));
}

function isClass(value: object): boolean {
  return Function.prototype.toString.call(value).startsWith("class");
}

const FUNCTION_PROTOTYPES: ReadonlySet<unknown> = new Set<unknown>(
  [() => {}, async () => {}, function* () {}, async function* () {}].map(
    (each) => Object.getPrototypeOf(each) as unknown,
  ),
);

function isFunctionPrototype(proto: object | null): boolean {
  return FUNCTION_PROTOTYPES.has(proto);
}

export function encodePrototype(
  value: object,
  prototype: object,
  { path, walk }: { readonly path: string; readonly walk: Walk },
): void {
  const id = walk.knownId(prototype) ?? walk.reserve(prototype);
  const of = walk.idOf(value, path);
  const known = walk.nodes[id];
  if (known?.kind === "prototype" && known.of !== of)
    walk.refuse(`${path}.prototype`, "belongs to another constructor, too", "let one extend the other");
  if (known !== undefined) return;
  walk.nodes[id] = { kind: "prototype", of };
  const at = `${path}.prototype`;
  const shape = shapeOf(prototype, { keys: Reflect.ownKeys(prototype), path: at }, walk);
  const proto = walk.ref(Object.getPrototypeOf(prototype), `${at}.[[Prototype]]`);
  walk.nodes[id] = { kind: "prototype", of, proto, ...shape };
}
