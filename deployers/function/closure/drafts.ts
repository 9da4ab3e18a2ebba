// Functions and namespaces that were walked, and wait until it is known which variables are shared.
import type { Ref, StateNode } from "../../../containers/closure-format.ts";
import type { Edit } from "./emit.ts";
import type { FunctionFacts } from "./inspect.ts";
import type { FunctionNode } from "./scope-types.ts";
import type { Script } from "./script.ts";
import type { Variable, VariableUse } from "./variables.ts";

/** Members of a module that the code reads. */
export interface NamespaceDraft {
  readonly id: number;
  readonly members: readonly (readonly [name: string, variable: Variable])[];
}

/** A function that was walked; its node and code are written when all variables are known. */
export interface Draft {
  readonly id: number;
  readonly kind: "function" | "class";
  readonly script: Script;
  readonly fn: FunctionNode;
  readonly uses: readonly VariableUse[];
  /** Captured under names of ours, always before the text runs. */
  readonly given: readonly (readonly [name: string, value: Ref])[];
  readonly edits: readonly Edit[];
  readonly shape: Partial<StateNode>;
}

export interface Source {
  /** The function itself. */
  readonly of: object;
  readonly script: Script;
  readonly fn: FunctionNode;
  readonly facts: FunctionFacts;
}
