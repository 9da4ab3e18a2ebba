// Reads out of an .onnx file what a contract needs: inputs, outputs, versions, names of external weight files.
// Field numbers: onnx.proto of the ONNX project. Weights are skipped, so the size of the file does not matter.
import type { Dimension } from "../tensor-model/tensors.ts";
import { bytesOf, numberOf, WireError, WireFile, type Span } from "../wire.ts";

type ValueType =
  /** `dimensions` undefined: the file does not even tell the rank. */
  | {
      readonly kind: "tensor";
      readonly elementType: number;
      readonly dimensions: readonly Dimension[] | undefined;
    }
  | {
      readonly kind: "sequence" | "map" | "optional" | "sparse tensor" | "opaque value" | "value of no type";
    };

export interface OnnxValue {
  readonly name: string;
  readonly type: ValueType;
}

export interface ExternalFile {
  /** As in the file: relative to the model's folder. */
  readonly location: string;
  /** Bytes the file must have for all tensors in it; 0 where the model does not say. */
  readonly minBytes: number;
}

export interface OnnxModelFile {
  readonly irVersion: number;
  /** "pytorch 2.9.0"; empty where the file does not say. */
  readonly producer: string;
  /** Version of the standard operator set. */
  readonly opset: number;
  /** What must be fed: without weights, which older files list among the inputs too. */
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly externalFiles: readonly ExternalFile[];
}

/** Deepest nesting of subgraphs (If, Loop, Scan). */
const MAX_DEPTH = 32;

/**
 * Reads an open file.
 * @throws WireError when it is no ONNX model, or a damaged one
 */
export function readOnnxFile(fd: number, size: number): OnnxModelFile {
  const file = new WireFile(fd, size);
  return new Reader(file).model();
}

/** One pass over a model. */
class Reader {
  readonly #file: WireFile;
  readonly #external = new Map<string, number>();

  constructor(file: WireFile) {
    this.#file = file;
  }

  model(): OnnxModelFile {
    let irVersion = 0;
    let opset = 0;
    const producer = ["", ""];
    let graph: Span | undefined;
    for (const field of this.#file.fields(this.#file.span)) {
      if (field.number === 1) irVersion = numberOf(field);
      else if (field.number === 2) producer[0] = this.#file.text(bytesOf(field));
      else if (field.number === 3) producer[1] = this.#file.text(bytesOf(field));
      else if (field.number === 7) graph = bytesOf(field);
      else if (field.number === 8) opset = this.#standardOpset(bytesOf(field)) ?? opset;
      else if (field.number === 25) this.#nodes(bytesOf(field), { nodes: 7, depth: 0 });
    }
    if (graph === undefined || irVersion === 0) throw new WireError("it holds no graph or no IR version");
    const { inputs, outputs } = this.#graph(graph);
    return {
      irVersion,
      opset,
      producer: producer.join(" ").trim(),
      inputs,
      outputs,
      externalFiles: [...this.#external].map(([location, minBytes]) => ({ location, minBytes })),
    };
  }

  #standardOpset(message: Span): number | undefined {
    let domain = "";
    let version = 0;
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) domain = this.#file.text(bytesOf(field));
      else if (field.number === 2) version = numberOf(field);
    }
    return domain === "" || domain === "ai.onnx" ? version : undefined;
  }

  #graph(message: Span): { inputs: OnnxValue[]; outputs: OnnxValue[] } {
    const weights = new Set<string>();
    const inputs: OnnxValue[] = [];
    const outputs: OnnxValue[] = [];
    for (const field of this.#file.fields(message)) {
      if (field.number === 5) weights.add(this.#weight(bytesOf(field)));
      else if (field.number === 15) weights.add(this.#sparseWeight(bytesOf(field)));
      else if (field.number === 11) inputs.push(this.#value(bytesOf(field)));
      else if (field.number === 12) outputs.push(this.#value(bytesOf(field)));
    }
    this.#nodes(message, { nodes: 1, depth: 0 });
    return { inputs: inputs.filter(({ name }) => !weights.has(name)), outputs };
  }

  /** External files of constants and subgraphs inside nodes; a graph's own nodes are its field 1, a function's 7. */
  #nodes(message: Span, { nodes, depth }: { nodes: number; depth: number }): void {
    if (depth > MAX_DEPTH) throw new WireError(`its subgraphs are nested more than ${MAX_DEPTH} deep`);
    for (const node of this.#file.fields(message)) {
      if (node.number !== nodes) continue;
      for (const attribute of this.#file.fields(bytesOf(node))) {
        if (attribute.number === 5) this.#attribute(bytesOf(attribute), depth);
      }
    }
  }

  #attribute(message: Span, depth: number): void {
    for (const field of this.#file.fields(message)) {
      if (field.kind !== "bytes") continue;
      if (field.number === 5 || field.number === 10) this.#weight(field);
      else if (field.number === 22 || field.number === 23) this.#sparseWeight(field);
      else if (field.number === 6 || field.number === 11) this.#subgraph(field, depth + 1);
    }
  }

  #subgraph(message: Span, depth: number): void {
    for (const field of this.#file.fields(message)) {
      if (field.number === 5) this.#weight(bytesOf(field));
      else if (field.number === 15) this.#sparseWeight(bytesOf(field));
    }
    this.#nodes(message, { nodes: 1, depth });
  }

  /** Notes the tensor's external file and returns its name. */
  #weight(message: Span): string {
    let name = "";
    const entries = new Map<string, string>();
    for (const field of this.#file.fields(message)) {
      if (field.number === 8) name = this.#file.text(bytesOf(field));
      else if (field.number === 13) entries.set(...this.#entry(bytesOf(field)));
    }
    const location = entries.get("location");
    if (location !== undefined) {
      const end = Number(entries.get("offset") ?? 0) + Number(entries.get("length") ?? 0);
      this.#external.set(location, Math.max(this.#external.get(location) ?? 0, end || 0));
    }
    return name;
  }

  /** A sparse weight carries its name on the tensor of its values; the other one holds their indices. */
  #sparseWeight(message: Span): string {
    let name = "";
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) name = this.#weight(bytesOf(field));
      else if (field.number === 2) this.#weight(bytesOf(field));
    }
    return name;
  }

  #entry(message: Span): [string, string] {
    const entry: [string, string] = ["", ""];
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) entry[0] = this.#file.text(bytesOf(field));
      else if (field.number === 2) entry[1] = this.#file.text(bytesOf(field));
    }
    return entry;
  }

  #value(message: Span): OnnxValue {
    let name = "";
    let type: ValueType = { kind: "value of no type" };
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) name = this.#file.text(bytesOf(field));
      else if (field.number === 2) type = this.#type(bytesOf(field)) ?? type;
    }
    return { name, type };
  }

  #type(message: Span): ValueType | undefined {
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) return this.#tensor(bytesOf(field));
      const kind = OTHER_TYPES.get(field.number);
      if (kind !== undefined) return { kind };
    }
    return undefined;
  }

  #tensor(message: Span): ValueType {
    let elementType = 0;
    let dimensions: readonly Dimension[] | undefined;
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) elementType = numberOf(field);
      else if (field.number === 2) dimensions = this.#shape(bytesOf(field));
    }
    return { kind: "tensor", elementType, dimensions };
  }

  #shape(message: Span): Dimension[] {
    const dimensions: Dimension[] = [];
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) dimensions.push(this.#dimension(bytesOf(field)));
    }
    return dimensions;
  }

  /** Exporters write a free dimension as nothing, as an empty name, or as a size below 0. */
  #dimension(message: Span): Dimension {
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) {
        const size = numberOf(field);
        return size < 0 ? null : size;
      }
      if (field.number === 2) return this.#file.text(bytesOf(field)) || null;
    }
    return null;
  }
}

const OTHER_TYPES: ReadonlyMap<number, Exclude<ValueType["kind"], "tensor">> = new Map([
  [4, "sequence"],
  [5, "map"],
  [7, "opaque value"],
  [8, "sparse tensor"],
  [9, "optional"],
] as const);
