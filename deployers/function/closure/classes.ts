// Nodes of classes and of instances with private fields: the text without what ran once, the state as data.
import { types } from "node:util";
import type { Ref, StateNode } from "../../../containers/closure-format.ts";
import type { Source } from "./drafts.ts";
import type { Edit } from "./emit.ts";
import { noteForeign } from "./foreign.ts";
import { captures, encodePrototype, functionShape, refuseSpecials } from "./functions.ts";
import type { PrivateField } from "./inspect.ts";
import { HINTS } from "./refuse.ts";
import { freeReferences, freeSpecials } from "./free.ts";
import type { Script } from "./script.ts";
import { children, listOf, type Ast } from "./syntax.ts";
import type { Walk } from "./walk.ts";

/** Stands for the private methods of a class without private fields. */
const METHODS = "#";

interface At {
  readonly path: string;
  readonly walk: Walk;
}

const BASE = "$wj_base";
/** While `on`, constructors make an instance without running what the user wrote. */
const BLANK = "$wj_blank";
/** A static method that sets private fields; the loader takes it off the class. */
const WRITER = "$wj_write";

export function encodeClass(value: object, source: Source, at: At): void {
  const { walk, path } = at;
  const id = walk.idOf(value, path);
  const { node } = source.fn;
  const members = listOf((node.body as Ast).body);
  claimMembers(value, id, { members, source, walk });
  noteForeign(value, node, walk);
  const removed = removedRanges(node, members);
  refuseSpecials(source, path, walk);
  for (const { use, start } of freeSpecials(source.script.scopes, source.fn))
    if (use === "private" && !isInside(start, removed))
      walk.refuse(path, "uses a private name of a class around it", "move the class to the top of the file");
  const references = freeReferences(source.script.scopes, source.fn).filter(
    ({ start }) => !isInside(start, removed),
  );
  const uses = captures(references, { source, path, walk });
  const base = baseOf(value, node, at);
  const prototype = Object.getOwnPropertyDescriptor(value, "prototype")?.value as object;
  encodePrototype(value, prototype, at);
  const keys = computedKeys(value, { members, source, walk }, path);
  const edits = [...classEdits(node, members, at), ...keys.map(({ edit }) => edit)];
  const shape = functionShape(value, path, walk);
  const statics = walk.inspection
    .privateFields(value)
    .filter(({ name }) =>
      members.some((each) => each.static === true && isField(each) && `#${each.key?.name}` === name),
    )
    .map(({ name, value: each }) => [id, name, walk.ref(each, `${path}.${name}`)] as const);
  const { script, fn } = source;
  walk.drafts.push({
    id,
    kind: "class",
    script,
    fn,
    uses,
    edits,
    given: [...(base === undefined ? [] : [base]), ...keys.map(({ given }) => given)],
    shape: {
      ...withoutBase(shape, base !== undefined && base[1] !== null),
      ...(statics.length === 0 ? {} : { privates: statics }),
    },
  });
}

/** What stands for the base in the text; null where the class has none that could be extended. */
function baseOf(value: object, node: Ast, { path, walk }: At): readonly [string, Ref] | undefined {
  if (!node.superClass) return undefined;
  const base = Object.getPrototypeOf(value) as object | null;
  return [BASE, isConstructor(base) ? walk.ref(base, `${path} (base class)`) : null];
}

function isConstructor(value: object | null): boolean {
  if (typeof value !== "function") return false;
  if (types.isProxy(value)) return true;
  try {
    Reflect.construct(Object, [], value);
    return true;
  } catch {
    return false;
  }
}

/** The text's `extends` gives the prototype already. */
function withoutBase(shape: Partial<StateNode>, hasBase: boolean): Partial<StateNode> {
  if (!hasBase) return shape;
  const { proto: _, ...rest } = shape;
  return rest;
}

interface ClassText {
  readonly members: readonly Ast[];
  readonly source: Source;
  readonly walk: Walk;
}

/** Methods that the class's text makes: what is found under their name is the class's, not a function of its own. */
function claimMembers(value: object, id: number, text: ClassText): void {
  const prototype = Object.getOwnPropertyDescriptor(value, "prototype")?.value as object;
  for (const [holder, on] of [
    [prototype, "prototype"],
    [value, "class"],
  ] as const)
    for (const key of Reflect.ownKeys(holder))
      if (key !== "constructor") claimMember({ holder, on, key, id }, text);
}

interface MemberPlace {
  readonly holder: object;
  readonly on: "prototype" | "class";
  readonly key: string | symbol;
  readonly id: number;
}

function claimMember({ holder, on, key, id }: MemberPlace, text: ClassText): void {
  const descriptor = Object.getOwnPropertyDescriptor(holder, key) ?? {};
  for (const fn of Object.values(descriptor) as readonly unknown[]) {
    const member = typeof fn === "function" ? memberOfText(fn, on, text) : undefined;
    // One that stands under two keys is the one that its text makes.
    if (member === undefined || text.walk.isMember(fn as object)) continue;
    const found = memberKey(member, key);
    const name = typeof found === "symbol" ? text.walk.ref(found, "") : found;
    const part = member.kind === "get" || member.kind === "set" ? member.kind : "value";
    text.walk.claim(fn as object, { kind: "member", of: id, on, key: name, part });
  }
}

/** The key that the text gives a member: it may stand under another one by now. A computed one is where it was found. */
function memberKey({ computed, key }: Ast, found: string | symbol): string | symbol {
  if (key?.type === "Literal") return String(key.value);
  if (computed !== true) return key?.name ?? found;
  const wellKnown: unknown = isWellKnown(key) ? Reflect.get(Symbol, key?.property?.name ?? "") : undefined;
  return typeof wellKnown === "symbol" ? wellKnown : found;
}

/** The method of the text that a function is. */
function memberOfText(
  fn: object,
  on: "prototype" | "class",
  { members, source, walk }: ClassText,
): Ast | undefined {
  const { script, offset } = walk.inspection.describeFunction(fn);
  if (script !== source.script) return undefined;
  return members.find(
    (each) =>
      each.type === "MethodDefinition" &&
      (each.static === true) === (on === "class") &&
      (each.value as Ast).start <= offset &&
      offset <= (each.value as Ast).end &&
      script.functionAt(offset, Function.prototype.toString.call(fn))?.node === each.value,
  );
}

function isField(member: Ast): boolean {
  return member.type === "PropertyDefinition";
}

type Range = readonly [start: number, end: number];

/** What ran once, when the class was made: its base, computed keys, static fields and blocks. */
function removedRanges(node: Ast, members: readonly Ast[]): readonly Range[] {
  const ranges: Range[] = [];
  if (node.superClass) ranges.push([node.superClass.start, node.superClass.end]);
  for (const member of members) {
    if (member.type === "StaticBlock" || (isField(member) && member.static === true))
      ranges.push([member.start, member.end]);
    else if (member.computed === true && member.key && !isField(member))
      ranges.push([member.key.start, member.key.end]);
  }
  return ranges;
}

function isInside(start: number, ranges: readonly Range[]): boolean {
  return ranges.some(([from, to]) => start >= from && start < to);
}

function* classEdits(node: Ast, members: readonly Ast[], at: At): Generator<Edit> {
  if (node.superClass) yield { start: node.superClass.start, end: node.superClass.end, text: BASE };
  const fields: string[] = [];
  for (const member of members) {
    const isPrivate = member.key?.type === "PrivateIdentifier";
    if (isField(member) && isPrivate) fields.push(member.key?.name ?? "");
    yield* memberEdits(member, node, at);
  }
  const close = (node.body as Ast).end - 1;
  if (fields.length === 0) return;
  const cases = fields.map((name) => `case "#${name}": o.#${name} = v; break;`).join(" ");
  yield { start: close, end: close, text: `; static ${WRITER}(o, n, v) { switch (n) { ${cases} } }` };
}

function* memberEdits(member: Ast, owner: Ast, at: At): Generator<Edit> {
  const { start, end } = member;
  if (member.type === "StaticBlock") yield { start, end, text: ";" };
  else if (isField(member)) yield* fieldEdits(member, at);
  else if (member.kind === "constructor") yield* constructorEdits(member.value as Ast, owner);
}

/** Static fields are data, since they have been set; those of instances are still set by constructors. */
function* fieldEdits(field: Ast, { path, walk }: At): Generator<Edit> {
  const { start, end, key } = field;
  if (field.static === true) {
    yield { start, end, text: key?.type === "PrivateIdentifier" ? `static #${key.name};` : ";" };
    return;
  }
  if (field.computed === true && key?.type !== "Literal" && !isWellKnown(key))
    walk.refuse(path, "has a field with a computed name", "give the field a fixed name");
  const value = field.value as Ast | null;
  if (value !== null) yield { start: value.start, end: value.start, text: `${BLANK}.on ? undefined : ` };
}

interface ComputedKey {
  readonly given: readonly [name: string, key: Ref];
  readonly edit: Edit;
}

/** Keys were computed when the class was made; each method now is under the key that it got then. */
function computedKeys(value: object, text: ClassText, path: string): readonly ComputedKey[] {
  const { members, walk } = text;
  const computed = members.filter(
    (each) => each.type === "MethodDefinition" && each.computed === true && each.key?.type !== "Literal",
  );
  return computed.flatMap((member): readonly ComputedKey[] => {
    const { key } = member;
    if (key === undefined || isWellKnown(key)) return [];
    const name = `$wj_key${key.start}`;
    // A method that is gone is taken off the class again, whatever it is called.
    const found = keyOf(value, member, text) ?? name;
    const ref = typeof found === "symbol" ? walk.ref(found, `${path} (computed name)`) : found;
    return [{ given: [name, ref], edit: { start: key.start, end: key.end, text: name } }];
  });
}

function keyOf(value: object, member: Ast, text: ClassText): string | symbol | undefined {
  const prototype = Object.getOwnPropertyDescriptor(value, "prototype")?.value as object;
  const on = member.static === true ? "class" : "prototype";
  const holder = on === "class" ? value : prototype;
  return Reflect.ownKeys(holder).find((key) => {
    const parts: readonly unknown[] = Object.values(Object.getOwnPropertyDescriptor(holder, key) ?? {});
    return parts.some(
      (fn) => typeof fn === "function" && memberOfText(fn, on, { ...text, members: [member] }) !== undefined,
    );
  });
}

function isWellKnown(key: Ast | undefined): boolean {
  return key?.type === "MemberExpression" && key.object?.name === "Symbol" && key.computed !== true;
}

/** In blank mode a constructor only calls its base; its parameters must not be looked at then. */
function* constructorEdits(fn: Ast, owner: Ast): Generator<Edit> {
  const body = fn.body as Ast;
  const parameters = fn.params ?? [];
  const [first] = parameters;
  const last = parameters.at(-1);
  const skip = `if (${BLANK}.on) { ${owner.superClass ? "super(); " : ""}return; } `;
  const isSimple = parameters.every(({ type }) => type === "Identifier");
  if (isSimple || first === undefined || last === undefined) {
    yield { start: body.start + 1, end: body.start + 1, text: skip };
    return;
  }
  yield { start: first.start, end: first.start, text: "...$wj_p) { " + skip + "var [" };
  const between = body.start + 1;
  yield { start: last.end, end: between, text: "] = $wj_p; " };
}

/** Private fields of an instance, each with the class whose text declares it. Refuses what no text of ours can set. */
export function encodePrivates(value: object, path: string, walk: Walk): StateNode["privates"] {
  const owners = privateOwners(value, walk);
  if (owners.length === 0) return undefined;
  const open = [...walk.inspection.privateFields(value)];
  const found: (readonly [number, string, Ref])[] = [];
  for (const { constructor, names, isOfPackage, name } of owners) {
    // Private methods alone: no field to set, but only what the class has constructed can call them.
    const isMarked = names.length === 1 && names[0] === METHODS;
    if (isMarked && isOfPackage && isRoot(constructor))
      return walk.refuse(path, `has private methods of ${name}, a class of a package`, HINTS.setup);
    if (isMarked) found.push([walk.idOf(constructor, path), METHODS, ["u"]]);
    const fields = ownedFields(open, names);
    if (isOfPackage && fields[0] !== undefined) {
      const at = `${path}.${fields[0].name}`;
      return walk.refuse(at, `is a private field of ${name}, a class of a package`, HINTS.setup);
    }
    for (const field of fields)
      found.push([walk.idOf(constructor, path), field.name, walk.ref(field.value, `${path}.${field.name}`)]);
  }
  return found.length === 0 ? undefined : found;
}

/** Takes the fields of one class out of those that are left; the names of others' may be the same. */
function ownedFields(open: PrivateField[], names: readonly string[]): readonly PrivateField[] {
  return names.flatMap((name) => {
    const index = open.findIndex((each) => each.name === name);
    return index < 0 ? [] : open.splice(index, 1);
  });
}

/** A class without `extends` can only make objects of its own. */
function isRoot(constructor: object): boolean {
  return Object.getPrototypeOf(constructor) === Function.prototype;
}

interface PrivateOwner {
  readonly constructor: object;
  readonly names: readonly string[];
  readonly isOfPackage: boolean;
  readonly name: string;
}

/** Classes along the prototypes that declare private fields, the base first. */
function privateOwners(value: object, walk: Walk): readonly PrivateOwner[] {
  const owners: PrivateOwner[] = [];
  for (let at = Object.getPrototypeOf(value) as object | null; at !== null;) {
    const constructor: unknown = Object.getOwnPropertyDescriptor(at, "constructor")?.value;
    if (typeof constructor === "function" && walk.references.find(constructor)?.kind !== "global") {
      const names = privateNames(constructor, walk);
      const isOfPackage = walk.references.find(constructor) !== undefined;
      if (names.length > 0) owners.unshift({ constructor, names, isOfPackage, name: constructor.name });
    }
    at = Object.getPrototypeOf(at) as object | null;
  }
  return owners;
}

/** Private instance fields that a class's text declares. */
function privateNames(constructor: object, walk: Walk): readonly string[] {
  const known = walk.privateNames.get(constructor);
  if (known !== undefined) return known;
  const { script, offset } = walk.inspection.describeFunction(constructor);
  const names = script === undefined || script.isInternal ? [] : declaredNames(script, offset, constructor);
  walk.privateNames.set(constructor, names);
  return names;
}

function declaredNames(script: Script, offset: number, constructor: object): readonly string[] {
  let fn;
  try {
    fn = script.functionAt(offset, Function.prototype.toString.call(constructor));
  } catch {
    return [];
  }
  if (fn?.kind !== "class") return [];
  const members = children(fn.node.body as Ast).filter(
    (each) => each.static !== true && each.key?.type === "PrivateIdentifier",
  );
  const fields = members.filter(isField).map(({ key }) => `#${key?.name}`);
  return fields.length === 0 && members.length > 0 ? [METHODS] : fields;
}
