// Variables that functions share: one that deployed code writes becomes a cell, so that all its users see the write.
import type { Ref } from "../../../containers/closure-format.ts";
import type { Reference, Scope } from "./scope-types.ts";
import type { Script } from "./script.ts";

/** A variable as one or more functions capture it. */
export interface Variable {
  readonly name: string;
  readonly value: unknown;
  readonly path: string;
  ref: Ref;
  isWritten: boolean;
  /** Id of its cell, once it has one. */
  cell: number | undefined;
  users: number;
}

export interface VariableUse {
  readonly variable: Variable;
  readonly references: readonly Reference[];
}

/** Where a variable is declared. */
export interface Declaration {
  readonly script: Script;
  readonly scope: Scope;
  readonly name: string;
  /** Tells instances of one scope apart (a call each); undefined: not known. */
  readonly instance: number | undefined;
}

interface Group {
  readonly variables: Variable[];
  readonly isShared: boolean;
}

/** Variables by declaration. Those of a script's top level exist once; an inner one once a call of its function. */
export class Variables {
  readonly #groups = new Map<Script, Map<string, Group>>();

  at(declaration: Declaration, make: () => Variable): Variable {
    const { script, scope, name, instance } = declaration;
    const inScript = this.#groups.get(script) ?? new Map<string, Group>();
    this.#groups.set(script, inScript);
    const isShared = scope.kind === "program" || instance !== undefined;
    const key = `${scope.kind} ${scope.start} ${name} ${scope.kind === "program" ? 0 : (instance ?? "")}`;
    const group = inScript.get(key) ?? { variables: [], isShared };
    inScript.set(key, group);
    const [first] = group.variables;
    if (isShared && first !== undefined) return first;
    const variable = make();
    group.variables.push(variable);
    return variable;
  }

  /** Variables of a top level that deployed code writes. */
  writtenAtTop(): readonly { readonly script: Script; readonly variable: Variable }[] {
    return [...this.#groups].flatMap(([script, inScript]) =>
      [...inScript]
        .filter(([key]) => key.startsWith("program "))
        .flatMap(([, { variables }]) => variables)
        .filter(({ isWritten }) => isWritten)
        .map((variable) => ({ script, variable })),
    );
  }

  /** Written variables of which it is not known whether they are one: the same declaration and the same value now. */
  undecided(): readonly Variable[] {
    const found: Variable[] = [];
    for (const inScript of this.#groups.values())
      for (const { variables, isShared } of inScript.values()) {
        if (isShared || variables.length < 2 || !variables.some(({ isWritten }) => isWritten)) continue;
        const values = new Set(variables.map(({ value }) => value));
        if (values.size < variables.length) found.push(...variables);
      }
    return found;
  }
}
