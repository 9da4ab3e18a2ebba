// What scope analysis finds in a script: scopes, uses of names, functions.
import type { SetUp } from "./set-ups.ts";
import type { Ast } from "./syntax.ts";

/** A lexical scope. Two names are one variable when name and scope (of the same instance) are equal. */
export interface Scope {
  readonly start: number;
  readonly kind: "program" | "parameters" | "body" | "block" | "class" | "name";
  readonly names: Map<string, Ast | undefined>;
  readonly parent: Scope | undefined;
}

/** One use of a name. */
export interface Reference {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly isWritten: boolean;
  /** `{ x }` as a value or a pattern: a rewrite has to write the key, too. */
  readonly isShorthand: boolean;
  /** Called or used as a template's tag: a rewrite must not give it a `this`. */
  readonly isCalled: boolean;
  /** `x.member` that is only read. */
  readonly member: string | undefined;
  /** The text in `x("text")`; null for a call with anything else. */
  readonly argument: string | null | undefined;
  scope: Scope | undefined;
  readonly from: Scope;
}

export type SpecialUse =
  | "this"
  | "super"
  | "arguments"
  | "new.target"
  | "import.meta"
  | "eval"
  | "import()"
  | "with"
  | "private";

/** Something whose meaning depends on the function or class around it. */
export interface Special {
  readonly use: SpecialUse;
  readonly start: number;
  /** Where the function or class that gives it its meaning starts; -1: the script. */
  readonly owner: number;
  /** The literal of `import("…")`, or the private name. */
  readonly text: string | undefined;
}

export interface FunctionNode {
  readonly node: Ast;
  /** The node whose text `toString` gives: the whole method, or the function itself. */
  readonly textStart: number;
  readonly end: number;
  readonly kind: "function" | "arrow" | "method" | "class" | "statement";
  readonly isStrict: boolean;
  /** The property or method definition around a method. */
  readonly method: Ast | undefined;
}

export interface ScriptScopes {
  readonly program: Scope;
  readonly references: readonly Reference[];
  readonly specials: readonly Special[];
  readonly functions: readonly FunctionNode[];
  /** Specifiers that the script imports or requires. */
  readonly imports: ReadonlySet<string>;
  readonly exports: ReadonlyMap<string, ExportedName>;
  /** Sources of `export * from "…"`. */
  readonly stars: readonly string[];
  /** Specifiers imported for what their modules do, not for what they export. */
  readonly effects: ReadonlySet<string>;
  readonly templates: readonly TaggedTemplate[];
  /** In the order of the text. */
  readonly setUps: readonly PlacedSetUp[];
}

/** A template literal with a tag, which gets the same list of strings each time. */
export interface TaggedTemplate {
  readonly start: number;
  readonly raw: readonly string[];
}

export interface PlacedSetUp extends SetUp {
  readonly node: Ast;
  /** Whether it stands at the top level, where it runs once and whatever happens. */
  readonly isTop: boolean;
}

/** What an export stands for: a variable of the script, or with `source` an export of another one. */
export interface ExportedName {
  readonly local: string;
  readonly source: string | undefined;
}
