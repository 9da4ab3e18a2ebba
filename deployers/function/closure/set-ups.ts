// Statements by which a user's files set packages up, such as `dayjs.extend(utc)`: finds them in a syntax tree.
import { listOf, literalText, type Ast } from "./syntax.ts";

/** A statement whose only effect is on what its root stands for. */
export interface SetUp {
  readonly start: number;
  readonly end: number;
  /** The name that it begins with. */
  readonly root: string;
  /** What is assigned to or changed, from the root on; undefined: something is called. */
  readonly changed: readonly string[] | undefined;
}

const VERB =
  /^(?:extend|use|plugin|install|mixin|(?:un)?register|config(?:ure)?|init(?:ialize)?|set|set[A-Z]\w*|add|add[A-Z]\w*|define|update|load|enable|disable|override|register[A-Z]\w*|define[A-Z]\w*|update[A-Z]\w*|load[A-Z]\w*|enable[A-Z]\w*|disable[A-Z]\w*|init[A-Z]\w*|locale|lang|language|import|cache|concurrency|seed|defaults)$/;

/** The set-ups that an expression statement holds. */
export function setUpsOf(statement: Ast): readonly SetUp[] {
  const expression = statement.expression as Ast;
  // Minifiers make one expression of several statements.
  const parts = expression.type === "SequenceExpression" ? listOf(expression.expressions) : [expression];
  return parts.flatMap((part) => {
    const found = setUpOf(unwrapped(part));
    return found === undefined ? [] : [{ ...found, start: part.start, end: part.end }];
  });
}

/** What a statement loads without using what it gives: `require("package/locale/de");`. */
export function effectOf(statement: Ast): string | undefined {
  const { type, callee, arguments: given } = unwrapped(statement.expression as Ast);
  return type === "CallExpression" && LOADERS.has(callee?.name) ? literalText(given?.[0]) : undefined;
}

/** Calls that load a module: CommonJS, and what Vite makes of imports. */
export const LOADERS: ReadonlySet<unknown> = new Set(["require", "__vite_ssr_import__"]);

function unwrapped(expression: Ast): Ast {
  const isWrapped = expression.type === "AwaitExpression" || expression.operator === "void";
  if (isWrapped && expression.argument) return unwrapped(expression.argument);
  return expression.type === "ChainExpression" ? unwrapped(expression.expression as Ast) : expression;
}

function setUpOf(expression: Ast): Pick<SetUp, "root" | "changed"> | undefined {
  switch (expression.type) {
    case "CallExpression":
      return callOf(expression);
    case "AssignmentExpression":
      return changeOf(expression.left, 0);
    case "UpdateExpression":
      return changeOf(expression.argument ?? undefined, 0);
    case "UnaryExpression":
      return expression.operator === "delete" ? changeOf(expression.argument ?? undefined, 0) : undefined;
    default:
      return undefined;
  }
}

const CHANGERS: ReadonlySet<string> = new Set(["assign", "defineProperty", "defineProperties"]);

function callOf({ callee, arguments: given = [] }: Ast): Pick<SetUp, "root" | "changed"> | undefined {
  const path = pathOf(callee);
  if (path === undefined) return undefined;
  const name = path.names.at(-1) ?? path.root;
  if (path.root === "Object" && CHANGERS.has(name)) return changeOf(given[0], -1);
  return VERB.test(name) ? { root: path.root, changed: undefined } : undefined;
}

/** @param least members that must be named beside the root: a variable of one's own is assigned without */
function changeOf(target: Ast | undefined, least: number): Pick<SetUp, "root" | "changed"> | undefined {
  const path = pathOf(target);
  return path === undefined || path.names.length <= least
    ? undefined
    : { root: path.root, changed: path.names };
}

/** The name that a chain of members and calls begins with, and the members after it. */
function pathOf(
  node: Ast | undefined,
): { readonly root: string; readonly names: readonly string[] } | undefined {
  switch (node?.type) {
    case "Identifier":
      return { root: node.name ?? "", names: [] };
    case "CallExpression":
      return pathOf(node.callee);
    case "ChainExpression":
      return pathOf(node.expression as Ast);
    // What compilers make of a call that must have no `this`: (0, module.call)(…).
    case "SequenceExpression":
      return pathOf(listOf(node.expressions).at(-1));
    case "MemberExpression": {
      const path = pathOf(node.object);
      const name = node.computed === true ? literalText(node.property) : node.property?.name;
      return path && { root: path.root, names: [...path.names, name ?? "*"] };
    }
    default:
      return undefined;
  }
}
