// What was captured under which name, and how much of the bundle it takes.
import type { StateNode } from "../../../containers/closure-format.ts";
import type { Walk } from "./walk.ts";

/** A name that a function captures, with all that is found through it first. */
export interface CapturedItem {
  /** "fn → model", "fn → helper → table". */
  readonly path: string;
  /** "object", "function", "Float32Array", "package zod", … */
  readonly kind: string;
  /** About what it takes in the bundle. */
  readonly bytes: number;
}

/** Largest first. What has no path of its own, such as a variable's cell, takes next to nothing. */
export function capturedItems(walk: Walk): readonly CapturedItem[] {
  const found = new Map<string, { kind: string | undefined; bytes: number }>();
  const texts = new Map(walk.drafts.map(({ id, fn }) => [id, fn.end - fn.textStart]));
  for (const [id, path] of walk.paths()) {
    const node = walk.nodes[id];
    if (node === undefined) continue;
    const name = captureOf(path);
    const item = found.get(name) ?? { kind: undefined, bytes: 0 };
    found.set(name, item);
    item.bytes += JSON.stringify(node).length + dataBytes(node) + (texts.get(id) ?? 0);
    if (path === name) item.kind ??= kindOf(node);
  }
  return [...found]
    .map(([path, { kind = "value", bytes }]) => ({ path, kind, bytes }))
    .toSorted((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
}

/** The path as far as the last name that a function captures: "fn → model" of "fn → model.layers[3].weights". */
function captureOf(path: string): string {
  const names = path.split(" → ");
  const last = names.pop() ?? "";
  return [...names, last.replace(/(?:[.[]|\s\().*$/s, "")].join(" → ");
}

function kindOf(node: StateNode): string {
  if (node.kind === "view") return node.type;
  if (node.kind === "package") return node.module.replace(/^\w+/, "package");
  if (node.kind === "made") return "object";
  return node.kind === "numbers" ? "array" : node.kind;
}

function dataBytes(node: StateNode): number {
  return node.kind === "numbers" ? node.length * 8 : node.kind === "buffer" ? node.length : 0;
}
