// What a function's text takes from outside: names, and uses whose meaning comes from the function around it.
import type { FunctionNode, Reference, ScriptScopes, Special } from "./scope-types.ts";

/** A part of a script's text. */
type Part = Pick<FunctionNode, "textStart" | "end">;

/** References of a function to names that are declared outside of it. */
export function freeReferences(scopes: ScriptScopes, { textStart, end }: Part): readonly Reference[] {
  return scopes.references
    .slice(firstFrom(scopes.references, textStart), firstFrom(scopes.references, end))
    .filter(({ scope }) => scope === undefined || scope.start < textStart);
}

function firstFrom(references: readonly Reference[], start: number): number {
  let low = 0;
  let high = references.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((references[middle]?.start ?? 0) < start) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Specials in a function's text whose meaning comes from outside of it, and those that never can be moved. */
export function freeSpecials(scopes: ScriptScopes, { textStart, end }: Part): readonly Special[] {
  return scopes.specials.filter(({ start, owner }) => start >= textStart && start < end && owner < textStart);
}

/** All specials in a function's text. */
export function specialsIn(scopes: ScriptScopes, { textStart, end }: Part): readonly Special[] {
  return scopes.specials.filter(({ start }) => start >= textStart && start < end);
}
