// Syntax trees of scripts: the node shape that scope analysis walks, and parsing as a module or as a script.
import { parse } from "acorn";

/** A node of an ESTree. Only the fields that scope analysis reads are named. */
export interface Ast {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly id?: Ast | null;
  readonly name?: string;
  readonly params?: readonly Ast[];
  readonly body?: Ast | readonly Ast[];
  readonly key?: Ast;
  readonly value?: unknown;
  readonly computed?: boolean;
  readonly static?: boolean;
  readonly shorthand?: boolean;
  readonly method?: boolean;
  readonly kind?: string;
  readonly async?: boolean;
  readonly generator?: boolean;
  readonly left?: Ast;
  readonly right?: Ast;
  readonly argument?: Ast | null;
  readonly arguments?: readonly Ast[];
  readonly callee?: Ast;
  readonly object?: Ast;
  readonly property?: Ast;
  readonly tag?: Ast;
  readonly quasi?: Ast;
  readonly quasis?: readonly Ast[];
  readonly operator?: string;
  readonly declarations?: readonly Ast[];
  readonly declaration?: Ast | null;
  readonly specifiers?: readonly Ast[];
  readonly source?: Ast | null;
  readonly local?: Ast;
  readonly imported?: Ast;
  readonly exported?: Ast | null;
  readonly superClass?: Ast | null;
  readonly param?: Ast | null;
  readonly elements?: readonly (Ast | null)[];
  readonly properties?: readonly Ast[];
  readonly init?: Ast | null;
  readonly meta?: Ast;
  readonly directive?: string;
  readonly expression?: unknown;
  readonly expressions?: readonly Ast[];
}

/** @throws SyntaxError where acorn does not know the syntax */
export function parseScript(source: string, isModule: boolean): Ast {
  const options = { ecmaVersion: "latest", allowHashBang: true } as const;
  const kind = isModule
    ? ({ sourceType: "module" } as const)
    : ({ sourceType: "script", allowReturnOutsideFunction: true, allowSuperOutsideMethod: true } as const);
  return parse(source, { ...options, ...kind });
}

function isAst(value: unknown): value is Ast {
  return typeof value === "object" && value !== null && typeof (value as Ast).type === "string";
}

export function listOf(node: Ast | readonly Ast[] | undefined): readonly Ast[] {
  if (node === undefined) return [];
  return Array.isArray(node) ? (node as readonly Ast[]) : [node as Ast];
}

/** All nodes right below one, in order of the text. */
export function children(node: Ast): readonly Ast[] {
  const found: Ast[] = [];
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) found.push(...value.filter(isAst));
    else if (isAst(value)) found.push(value);
  }
  return found;
}

/** Text of a literal; undefined for anything else. */
export function literalText(node: Ast | undefined): string | undefined {
  return node?.type === "Literal" && typeof node.value === "string" ? node.value : undefined;
}

export function hasStrictDirective(body: readonly Ast[]): boolean {
  return body.some((statement) => statement.directive === "use strict");
}

/** Vite and tsx run a module as the block of a function, once: its variables are those of a script's top level. */
export function wrappedBody({ body: statements }: Ast): readonly Ast[] | undefined {
  const [first, last] = [0, -1].map((at) => listOf(statements).at(at)?.expression as Ast | undefined);
  if (last?.params?.[0]?.name === "__vite_ssr_exports__") return blockOf(blockOf(last)?.[0]);
  const isOfTsx = first?.left?.name === "__filename" && last?.callee?.type === "ArrowFunctionExpression";
  return isOfTsx ? blockOf(last.callee) : undefined;
}

/** Statements of a block, or of a function's. */
function blockOf(node: Ast | undefined): readonly Ast[] | undefined {
  const block = node?.type === "BlockStatement" ? node : (node?.body as Ast | undefined);
  return block?.type === "BlockStatement" ? listOf(block.body) : undefined;
}
