// Which methods a path takes, by the operations that are documented: for the replies to requests with others.
import type { Operation } from "./document.ts";

/** Finds the Allow header of a path; undefined: no operation has it. */
export function allowedMethods(operations: readonly Operation[]): (path: string) => string | undefined {
  const known = operations.map(({ method, path }) => ({ method, pattern: patternOf(path) }));
  return (path) => {
    const methods = new Set<string>();
    for (const { method, pattern } of known) if (pattern.test(path)) methods.add(method);
    if (methods.has("GET")) methods.add("HEAD");
    return methods.size === 0 ? undefined : [...methods].join(", ");
  };
}

function patternOf(path: string): RegExp {
  const parts = path.split(/\{\w+\}/).map((part) => part.replaceAll(SPECIAL, String.raw`\$&`));
  return new RegExp(`^${parts.join("[^/]+")}/?$`);
}

const SPECIAL = /[.*+?^${}()|[\]\\]/g;
