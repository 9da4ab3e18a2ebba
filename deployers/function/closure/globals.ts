// Globals that a text names or has from this process: those every Node has stay, those that were set or changed here do not.
import { runInNewContext } from "node:vm";
import type { Draft } from "./drafts.ts";
import type { Reference } from "./scope-types.ts";
import type { Walk } from "./walk.ts";

const HINT = "capture it in a const of the module";
const SAME_ANYWHERE: ReadonlySet<string> = new Set(["require", "undefined", "NaN", "Infinity", "eval"]);

/** Refuses a global by its name where a model container has another one, or none. */
export function captureGlobal(references: readonly Reference[], walk: Walk, path: string): void {
  const { name } = references[0] ?? { name: "" };
  const global = Object.getOwnPropertyDescriptor(globalThis, name);
  if (global === undefined || SAME_ANYWHERE.has(name)) return;
  if (global.value === globalThis) return refuseOwnGlobals(references, walk, path);
  if (isPatched(global.value, references, walk))
    walk.refuse(path, "was changed in this process", "capture the changed part in a const of the module");
  else if ("value" in global && walk.references.find(global.value) === undefined)
    walk.refuse(path, "is a global that this process has set", HINT);
}

/** Whether an object of the language, or a member of it that the text reads, was put there by code of this process. */
function isPatched(value: unknown, references: readonly Reference[], walk: Walk): boolean {
  const name = references[0]?.name ?? "";
  const original: unknown = Object.getOwnPropertyDescriptor(walk.pristine, name)?.value;
  if (!isObject(value) || !isObject(original) || NOT_COMPARED.has(name)) return false;
  const isOurs = (each: unknown): boolean => {
    const script = typeof each === "function" ? walk.inspection.describeFunction(each).script : undefined;
    return script !== undefined && !script.isInternal;
  };
  return (
    isOurs(value) ||
    references.some(({ member }) => {
      const own = member === undefined ? undefined : Object.getOwnPropertyDescriptor(value, member);
      return own !== undefined && (isOurs(own.value) || !Object.hasOwn(original, member ?? ""));
    })
  );
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** Globals of a context of its own, which nobody has changed. */
export function pristineGlobals(): object {
  return runInNewContext("globalThis") as object;
}

/** Node adds to these itself. */
const NOT_COMPARED: ReadonlySet<string> = new Set(["console", "globalThis", "Error", "WebAssembly"]);

/** `globalThis.name` that this process has set is not there in the container. */
export function refuseOwnGlobals(references: readonly Reference[], walk: Walk, path: string): void {
  for (const { member } of references) {
    const own = member === undefined ? undefined : Object.getOwnPropertyDescriptor(globalThis, member);
    const isKnown = own === undefined || !("value" in own) || walk.references.find(own.value) !== undefined;
    if (!isKnown && !["NaN", "Infinity", "undefined"].includes(member ?? ""))
      walk.refuse(`${path}.${member}`, "is a global that this process has set", HINT);
  }
}

/** Where a function of the process or the console is found again: what is behind it belongs to each process. */
export function hostPlace(value: unknown): readonly string[] | undefined {
  for (const [name, host] of [
    ["console", console],
    ["process", process],
  ] as const)
    for (const key of Object.getOwnPropertyNames(host))
      if (Object.getOwnPropertyDescriptor(host, key)?.value === value) return [name, key];
  return undefined;
}

/** Members that are used without being named. */
const IMPLICIT: ReadonlySet<unknown> = new Set(["toJSON", "toString", "valueOf", "toLocaleString", "then"]);

/** Warns of what this process has put on prototypes that every value has, where deployed code may use it. */
export function warnOfAdded(walk: Walk): void {
  const isUsed = (member: string | symbol): boolean =>
    typeof member === "symbol" || IMPLICIT.has(member) || walk.drafts.some((draft) => names(draft, member));
  for (const { path, member } of addedToLanguage(walk.pristine))
    if (isUsed(member))
      walk.warnings.push(
        `${path} was put there by code of this process, and a model container does not have it; use a function of your own, or put it there in setup`,
      );
}

function names({ script, fn }: Draft, member: string): boolean {
  const at = script.source.indexOf(`.${member}`, fn.textStart);
  return at >= 0 && at < fn.end;
}

interface Added {
  readonly path: string;
  readonly member: string | symbol;
}

/** Members that code of this process has put on the prototypes and classes of the language, such as "Array.prototype.last". */
function addedToLanguage(pristine: object): readonly Added[] {
  const found: Added[] = [];
  for (const name of Object.getOwnPropertyNames(pristine)) {
    const pair = [pristine, globalThis].map((each) => memberValue(each, name));
    if (NOT_COMPARED.has(name) || !isObject(pair[1])) continue;
    const prototypes = pair.map((each) => memberValue(each, "prototype"));
    for (const [path, [original, now]] of [
      [name, pair],
      [`${name}.prototype`, prototypes],
    ] as const)
      for (const member of isObject(now) && isObject(original) ? changedMembers(original, now) : [])
        found.push({
          path: `${path}${typeof member === "symbol" ? `[${String(member)}]` : `.${member}`}`,
          member,
        });
  }
  return found;
}

function memberValue(of: unknown, name: PropertyKey): unknown {
  return isObject(of) ? Object.getOwnPropertyDescriptor(of, name)?.value : undefined;
}

function changedMembers(original: object, now: object): readonly (string | symbol)[] {
  return Reflect.ownKeys(now).filter((key) => {
    const own = Object.getOwnPropertyDescriptor(now, key) ?? {};
    if (!Object.hasOwn(original, key)) return true;
    return Object.values(own).some((each: unknown) => typeof each === "function" && !isNative(each));
  });
}

/** Whether a function has no text of JavaScript. */
export function isNative(fn: object): boolean {
  return /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(fn));
}
