// Reads out of a saved_model.pb what a contract needs: tags and signatures with their tensors.
// Field numbers: saved_model.proto and meta_graph.proto of TensorFlow. Graphs are skipped.
import { bytesOf, numberOf, WireError, WireFile, type Span } from "../wire.ts";

/** An input or output of a signature. */
export interface SignatureTensor {
  readonly name: string;
  /** In the graph: "serving_default_image:0"; undefined: no plain tensor (sparse, ragged). */
  readonly node: string | undefined;
  /** TensorFlow's number of the element type. */
  readonly dtype: number;
  /** null is a free dimension; undefined: the rank is unknown. */
  readonly dimensions: readonly (number | null)[] | undefined;
}

export interface Signature {
  readonly name: string;
  /** Sorted by name: files have no order of their own. */
  readonly inputs: readonly SignatureTensor[];
  readonly outputs: readonly SignatureTensor[];
}

/** One of the graphs in a SavedModel; nearly all have one alone, tagged "serve". */
export interface MetaGraph {
  readonly tags: readonly string[];
  /** "2.21.0"; empty where the file does not say. */
  readonly tensorflowVersion: string;
  readonly signatures: readonly Signature[];
}

/** In every model of TensorFlow 2, and of no use to callers. */
const INITIALISATION = "__saved_model_init_op";

/**
 * Reads an open file.
 * @throws WireError when it is no SavedModel, or a damaged one
 */
export function readSavedModel(fd: number, size: number): readonly MetaGraph[] {
  const file = new WireFile(fd, size);
  const reader = new Reader(file);
  const graphs: MetaGraph[] = [];
  for (const field of file.fields(file.span))
    if (field.number === 2) graphs.push(reader.graph(bytesOf(field)));
  if (graphs.length === 0) throw new WireError("it holds no graph");
  return graphs;
}

class Reader {
  readonly #file: WireFile;

  constructor(file: WireFile) {
    this.#file = file;
  }

  graph(message: Span): MetaGraph {
    let tags: readonly string[] = [];
    let tensorflowVersion = "";
    const signatures: Signature[] = [];
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) ({ tags, tensorflowVersion } = this.#info(bytesOf(field)));
      else if (field.number === 5) {
        const [name, value] = this.#entry(bytesOf(field));
        if (name !== INITIALISATION) signatures.push(this.#signature(name, value));
      }
    }
    return { tags, tensorflowVersion, signatures };
  }

  #info(message: Span): Pick<MetaGraph, "tags" | "tensorflowVersion"> {
    const tags: string[] = [];
    let tensorflowVersion = "";
    for (const field of this.#file.fields(message)) {
      if (field.number === 4) tags.push(this.#file.text(bytesOf(field)));
      else if (field.number === 5) tensorflowVersion = this.#file.text(bytesOf(field));
    }
    return { tags, tensorflowVersion };
  }

  /** An entry of a map, which is a message of a key and a value. */
  #entry(message: Span): [name: string, value: Span] {
    let name = "";
    let value: Span = { start: message.end, end: message.end };
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) name = this.#file.text(bytesOf(field));
      else if (field.number === 2) value = bytesOf(field);
    }
    return [name, value];
  }

  #signature(name: string, message: Span): Signature {
    const inputs: SignatureTensor[] = [];
    const outputs: SignatureTensor[] = [];
    for (const field of this.#file.fields(message)) {
      const list = field.number === 1 ? inputs : field.number === 2 ? outputs : undefined;
      if (list !== undefined) list.push(this.#tensor(...this.#entry(bytesOf(field))));
    }
    const byName = (a: SignatureTensor, b: SignatureTensor): number => (a.name < b.name ? -1 : 1);
    return { name, inputs: inputs.toSorted(byName), outputs: outputs.toSorted(byName) };
  }

  #tensor(name: string, message: Span): SignatureTensor {
    let node: string | undefined;
    let dtype = 0;
    let dimensions: readonly (number | null)[] | undefined = [];
    for (const field of this.#file.fields(message)) {
      if (field.number === 1) node = this.#file.text(bytesOf(field));
      else if (field.number === 2) dtype = numberOf(field);
      else if (field.number === 3) dimensions = this.#shape(bytesOf(field));
    }
    return { name, node, dtype, dimensions };
  }

  #shape(message: Span): readonly (number | null)[] | undefined {
    const dimensions: (number | null)[] = [];
    for (const field of this.#file.fields(message)) {
      if (field.number === 3 && numberOf(field) !== 0) return undefined;
      if (field.number === 2) dimensions.push(this.#dimension(bytesOf(field)));
    }
    return dimensions;
  }

  #dimension(message: Span): number | null {
    let size = 0;
    for (const field of this.#file.fields(message)) if (field.number === 1) size = numberOf(field);
    return size < 0 ? null : size;
  }
}
