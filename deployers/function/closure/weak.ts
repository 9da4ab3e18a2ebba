// WeakMaps and WeakSets: of their entries only those can ever be seen whose keys the function holds, too.
import { types } from "node:util";
import type { StateNode } from "../../../containers/closure-format.ts";
import type { WeakEntry } from "./inspect.ts";
import { refuseTemplate } from "./templates.ts";
import type { Walk } from "./walk.ts";

/** The node, still without entries: they come when it is known which keys the function holds. */
export function encodeWeak(value: object, path: string, walk: Walk): StateNode {
  walk.weak.push({ id: walk.idOf(value, path), value, path });
  return { kind: types.isWeakMap(value) ? "weakmap" : "weakset", entries: [] };
}

/** Walks what is left, and the entries of weak collections whose keys were found, until there are no more. */
export function drainWeak(walk: Walk): void {
  const open = new Map<object, readonly WeakEntry[]>();
  for (let added = Number.POSITIVE_INFINITY; added > 0;) {
    walk.drain();
    added = walk.weak.reduce((count, each) => count + addReached(each, open, walk), 0);
  }
}

/** @returns how many entries have come */
function addReached(of: Walk["weak"][number], open: Map<object, readonly WeakEntry[]>, walk: Walk): number {
  const { id, value, path } = of;
  const entries = open.get(value) ?? walk.inspection.weakEntries(value);
  const node = walk.nodes[id];
  for (const entry of entries) refuseTemplate(keyOf(entry), path, walk);
  const reached = entries.filter((entry) => walk.isReached(keyOf(entry)));
  open.set(
    value,
    entries.filter((entry) => !reached.includes(entry)),
  );
  // Not in the order of V8, which is another one in every process.
  for (const entry of reached.toSorted((a, b) => order(a, walk) - order(b, walk))) {
    const key = walk.ref(keyOf(entry), `${path} (key)`);
    const entryNode = walk.nodes[id];
    if (entryNode?.kind === "weakset")
      walk.nodes[id] = { ...entryNode, entries: [...entryNode.entries, key] };
    if (entryNode?.kind === "weakmap")
      walk.nodes[id] = {
        ...entryNode,
        entries: [...entryNode.entries, [key, walk.ref(entry.value, `${path}.get()`)]],
      };
  }
  return node === undefined ? 0 : reached.length;
}

function keyOf({ key, value }: WeakEntry): WeakKey {
  return key ?? (value as WeakKey);
}

function order(entry: WeakEntry, walk: Walk): number {
  return walk.knownId(keyOf(entry)) ?? -1;
}
