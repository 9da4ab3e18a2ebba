// What only a heap snapshot tells: which functions share one variable, and the `this` that an arrow has from outside.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeHeapSnapshot } from "node:v8";
import type { Inspection } from "./inspect.ts";

/** The file must fit into one string. */
const MAX_BYTES = 500_000_000;

interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[];
      readonly node_types: readonly [readonly string[]];
      readonly edge_fields: readonly string[];
      readonly edge_types: readonly [readonly string[]];
    };
  };
  readonly nodes: readonly number[];
  readonly edges: readonly number[];
  readonly strings: readonly string[];
}

interface Edge {
  readonly type: string;
  readonly name: string;
  /** Index of the node in the list of nodes. */
  readonly to: number;
}

/** The contexts of functions, as they stood when the snapshot was taken. */
export class Heap {
  readonly #inspection: Inspection;
  readonly #snapshot: Snapshot;
  readonly #nodeFields: number;
  readonly #idField: number;
  readonly #firstEdge: Uint32Array;

  /** Takes the snapshot: a fifth of a second for a heap of 16 MB, a second for 90 MB. */
  static take(inspection: Inspection): Heap | undefined {
    const snapshot = readSnapshot();
    return snapshot === undefined ? undefined : new Heap(inspection, snapshot);
  }

  private constructor(inspection: Inspection, snapshot: Snapshot) {
    this.#inspection = inspection;
    this.#snapshot = snapshot;
    const { meta } = snapshot.snapshot;
    this.#nodeFields = meta.node_fields.length;
    this.#idField = meta.node_fields.indexOf("id");
    const countField = meta.node_fields.indexOf("edge_count");
    const count = snapshot.nodes.length / this.#nodeFields;
    this.#firstEdge = new Uint32Array(count + 1);
    for (let node = 0, edge = 0; node < count; node += 1) {
      edge += (snapshot.nodes[node * this.#nodeFields + countField] ?? 0) * meta.edge_fields.length;
      this.#firstEdge[node + 1] = edge;
    }
  }

  /** Identity of the scope instance that holds a function's variable; undefined: it cannot be told. */
  contextOf(fn: object, name: string): number | undefined {
    for (const context of this.#contexts(fn)) {
      const names = this.#names(context);
      if (names === undefined) return undefined;
      if (names.has(name)) return context;
    }
    return undefined;
  }

  /** The `this` that an arrow function takes from the function around it. */
  outerThis(fn: object): object | undefined {
    for (const context of this.#contexts(fn)) {
      const edge = this.#edges(context).find(({ type, name }) => type === "context" && name === "this");
      if (edge !== undefined) return this.#inspection.objectOfHeap(this.#idOf(edge.to));
    }
    return undefined;
  }

  *#contexts(fn: object): Generator<number> {
    let at = this.#nodeOf(this.#inspection.heapId(fn));
    let name = "context";
    while (at !== undefined) {
      at = this.#edges(at).find((edge) => edge.type === "internal" && edge.name === name)?.to;
      name = "previous";
      if (at !== undefined) yield at;
    }
  }

  /** Names of a context's variables. A block's are only in its description. */
  #names(context: number): ReadonlySet<string> | undefined {
    const edges = this.#edges(context);
    const own = edges.filter(({ type }) => type === "context").map(({ name }) => name);
    if (own.length > 0) return new Set(own);
    const info = edges.find(({ type, name }) => type === "internal" && name === "scope_info")?.to;
    const described = info === undefined ? [] : this.#edges(info).filter(({ type }) => type === "hidden");
    const [first] = described;
    // Many names stand in a table of their own; one without names describes the scope around it.
    const hasTable = first !== undefined && first.name === "0" && !this.#isString(first.to);
    if (hasTable && this.#nameOf(first.to) !== "system / ScopeInfo") return undefined;
    return new Set(described.filter(({ to }) => this.#isString(to)).map(({ to }) => this.#nameOf(to)));
  }

  #edges(node: number): readonly Edge[] {
    const { edges, strings, snapshot } = this.#snapshot;
    const { edge_fields: fields, edge_types: types } = snapshot.meta;
    const index = node / this.#nodeFields;
    const found: Edge[] = [];
    const end = this.#firstEdge[index + 1] ?? 0;
    for (let at = this.#firstEdge[index] ?? 0; at < end; at += fields.length) {
      const type = types[0][edges[at] ?? 0] ?? "";
      const name = edges[at + 1] ?? 0;
      const isIndex = type === "element" || type === "hidden";
      found.push({ type, name: isIndex ? String(name) : (strings[name] ?? ""), to: edges[at + 2] ?? 0 });
    }
    return found;
  }

  #nodeOf(id: number): number | undefined {
    const { nodes } = this.#snapshot;
    for (let at = 0; at < nodes.length; at += this.#nodeFields)
      if (nodes[at + this.#idField] === id) return at;
    return undefined;
  }

  #isString(node: number): boolean {
    const type = this.#snapshot.snapshot.meta.node_types[0][this.#snapshot.nodes[node] ?? 0] ?? "";
    return type.endsWith("string");
  }

  #nameOf(node: number): string {
    return this.#snapshot.strings[this.#snapshot.nodes[node + 1] ?? 0] ?? "";
  }

  #idOf(node: number): number {
    return this.#snapshot.nodes[node + this.#idField] ?? 0;
  }
}

/** Through a file that nobody else can read: it holds every text of this process. */
function readSnapshot(): Snapshot | undefined {
  const folder = mkdtempSync(join(tmpdir(), "windjammer-heap-"));
  try {
    const file = writeHeapSnapshot(join(folder, "function.heapsnapshot"), { exposeNumericValues: true });
    return statSync(file).size > MAX_BYTES ? undefined : (JSON.parse(readFileSync(file, "utf8")) as Snapshot);
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
