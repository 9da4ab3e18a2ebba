// Private fields that a class has put on objects of others, by a base that returns them: nothing puts them there again.
import { types } from "node:util";
import { children, listOf, type Ast } from "./syntax.ts";
import type { Walk } from "./walk.ts";

/** Notes the private fields of a class that can be on objects which it has not made. */
export function noteForeign(value: object, node: Ast, walk: Walk): void {
  const members = listOf((node.body as Ast).body);
  const names = members
    .filter(
      ({ type, key, static: isStatic }) =>
        type === "PropertyDefinition" && isStatic !== true && key?.type === "PrivateIdentifier",
    )
    .map(({ key }) => `#${key?.name}`);
  if (names.length === 0 || !node.superClass || !hasReturningBase(value, walk)) return;
  for (const name of names)
    walk.foreign.set(name, String(Object.getOwnPropertyDescriptor(value, "name")?.value));
}

function hasReturningBase(value: object, walk: Walk): boolean {
  for (
    let at: unknown = Object.getPrototypeOf(value);
    typeof at === "function";
    at = Object.getPrototypeOf(at)
  ) {
    if (types.isProxy(at)) return true;
    const { script, offset } = walk.inspection.describeFunction(at);
    if (script === undefined || script.isInternal) continue;
    const text = Function.prototype.toString.call(at);
    const found = script.functionAt(offset, text)?.node;
    if (found === undefined || bodyOf(found).some(returnsValue)) return true;
  }
  return false;
}

/** Statements that run when a class or a function constructs. */
function bodyOf(node: Ast): readonly Ast[] {
  const { type, body } = node;
  if (type !== "ClassDeclaration" && type !== "ClassExpression") return children(body as Ast);
  const constructor = listOf((body as Ast).body).find(({ kind }) => kind === "constructor");
  return constructor === undefined ? [] : children((constructor.value as Ast).body as Ast);
}

function returnsValue(node: Ast): boolean {
  if (node.type === "ReturnStatement") return Boolean(node.argument);
  return !/Function|Class/.test(node.type) && children(node).some(returnsValue);
}

/** Refuses objects with such fields beside those that their own classes declare. */
export function refuseForeign(walk: Walk): void {
  if (walk.foreign.size === 0) return;
  const paths = new Map(walk.paths());
  for (const [value, id] of walk.objects()) {
    const node = walk.nodes[id];
    if (typeof value === "symbol" || node === undefined || node.kind === "global" || node.kind === "package")
      continue;
    const own = (node.privates ?? []).map(([, name]) => name);
    for (const { name } of walk.inspection.privateFields(value)) {
      const index = own.indexOf(name);
      if (index >= 0) own.splice(index, 1);
      else if (walk.foreign.has(name))
        walk.refuse(
          `${paths.get(id) ?? "fn"}.${name}`,
          `is a private field that class ${walk.foreign.get(name)} has put on an object which is none of its own`,
          "keep it in a WeakMap of the class",
        );
    }
  }
}
