// The strings of a template literal as keys: each place in the code has its own, which no copy can be.
import type { Walk } from "./walk.ts";

/** What is looked up by the strings of a literal is found by that literal alone, which is another one in the container. */
export function refuseTemplate(key: unknown, path: string, walk: Walk): void {
  if (!Array.isArray(key) || !Object.isFrozen(key)) return;
  const raw = Object.getOwnPropertyDescriptor(key, "raw");
  if (raw?.enumerable !== false || !Array.isArray(raw.value)) return;
  walk.refuse(
    path,
    "has the strings of a template literal as a key, which are others in the container",
    "use their text as the key: strings.raw.join()",
  );
}
