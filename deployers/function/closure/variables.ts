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
  /** A function that captures it; undefined: it is known where it stands. */
  readonly of: object | undefined;
  /** Another entry that was found to be this very variable, and stands for both. */
  same: Variable | undefined;
}

export function newVariable(
  facts: Pick<Variable, "name" | "value" | "path" | "ref"> & { readonly of?: object },
): Variable {
  return { of: undefined, ...facts, isWritten: false, cell: undefined, same: undefined };
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

  /**
   * Finds out which entries are one variable: those of the same declaration and value of which one is written.
   * @param instanceOf the scope instance of an entry; undefined: it cannot be told
   * @returns those that could not be told apart
   */
  unite(instanceOf: (variable: Variable) => number | undefined): readonly Variable[] {
    const groups = Array.from(this.#groups.values(), (inScript) => Array.from(inScript.values())).flat();
    return groups.filter(isUndecided).flatMap(({ variables }) => uniteGroup(variables, instanceOf));
  }
}

/** Entries of different values are different variables; as long as nothing is written, it does not matter. */
function isUndecided({ variables, isShared }: Group): boolean {
  if (isShared || variables.length < 2 || !variables.some(({ isWritten }) => isWritten)) return false;
  return new Set(variables.map(({ value }) => value)).size < variables.length;
}

function uniteGroup(
  variables: readonly Variable[],
  instanceOf: (variable: Variable) => number | undefined,
): readonly Variable[] {
  const first = new Map<number, Variable>();
  for (const variable of variables) {
    const instance = instanceOf(variable);
    if (instance === undefined) return variables;
    const known = first.get(instance);
    if (known === undefined) first.set(instance, variable);
    else {
      variable.same = known;
      known.isWritten ||= variable.isWritten;
    }
  }
  return [];
}
