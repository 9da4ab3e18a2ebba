// The strings of a template literal: each place in the code has its own list of them, which no copy can be.
import type { Walk } from "./walk.ts";

/** A list of strings that a literal gave, with its path. */
export interface Template {
  readonly path: string;
  readonly raw: readonly unknown[];
}

/** The raw strings of a template literal's list; undefined for any other value. */
function rawOf(value: unknown): readonly unknown[] | undefined {
  if (!Array.isArray(value) || !Object.isFrozen(value)) return undefined;
  const raw = Object.getOwnPropertyDescriptor(value, "raw");
  return raw?.enumerable === false && Array.isArray(raw.value) ? (raw.value as unknown[]) : undefined;
}

/** What is looked up by the strings of a literal is found by that literal alone, which is another one in the container. */
export function refuseTemplate(key: unknown, path: string, walk: Walk): void {
  if (rawOf(key) === undefined) return;
  walk.refuse(
    path,
    "has the strings of a template literal as a key, which are others in the container",
    "use their text as the key: strings.raw.join()",
  );
}

/** Notes a captured list that a literal gave. */
export function noteTemplate(value: object, path: string, walk: Walk): void {
  const raw = rawOf(value);
  if (raw !== undefined) walk.templates.push({ path, raw });
}

/** A copy of the strings is as good as they are, unless the literal goes along, which gives the very same list here. */
export function refuseTemplates(walk: Walk): void {
  for (const { path, raw } of walk.templates) {
    const text = JSON.stringify(raw);
    const isTaken = walk.drafts.some(({ script, fn }) =>
      script.scopes.templates.some(
        (each) => each.start >= fn.textStart && each.start < fn.end && JSON.stringify(each.raw) === text,
      ),
    );
    if (isTaken)
      walk.refuse(
        path,
        "is the list of strings that a template literal in the function gives, and would be another one in the container",
        "compare and keep their text: strings.raw.join()",
      );
  }
}
