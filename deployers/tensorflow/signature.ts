// Chooses the graph and the signature of a SavedModel, and the outputs to serve.
import { InvalidOptionsError, nearest, UnsupportedModelError } from "../../core/index.ts";
import type { ModelTensor } from "../tensor-model/tensors.ts";
import { nativeDatatype } from "./element-types.ts";
import type { MetaGraph, Signature, SignatureTensor } from "./saved-model.ts";

export interface SignatureChoice {
  readonly tags?: readonly string[] | undefined;
  readonly signature?: string | undefined;
  readonly outputs?: readonly string[] | undefined;
}

const USUAL_TAG = "serve";
const USUAL_SIGNATURE = "serving_default";

/** @throws InvalidOptionsError listing the tags there are */
export function chooseGraph(graphs: readonly MetaGraph[], tags: SignatureChoice["tags"]): MetaGraph {
  const wanted = tags ?? (graphs.length === 1 ? graphs[0]?.tags : undefined) ?? [USUAL_TAG];
  const found = graphs.find((graph) => keyOf(graph.tags) === keyOf(wanted));
  if (found !== undefined) return found;
  const sets = graphs.map((graph) => JSON.stringify(graph.tags));
  throw new InvalidOptionsError(
    `tags: the SavedModel has no graph with the tags ${JSON.stringify(wanted)}, but ${sets.join(" and ")}; name one of them`,
    { details: { option: "tags" } },
  );
}

function keyOf(tags: readonly string[]): string {
  return tags.toSorted().join(",");
}

/** @throws InvalidOptionsError listing the signatures there are, UnsupportedModelError when there is none */
export function chooseSignature({ signatures }: MetaGraph, name: string | undefined): Signature {
  const names = signatures.map((signature) => signature.name);
  if (names.length === 0) {
    throw new UnsupportedModelError(
      "the SavedModel has no signature; save it with signatures=…, or a Keras model with model.export(folder)",
    );
  }
  const wanted = name ?? (names.length === 1 ? names[0] : USUAL_SIGNATURE);
  const found = signatures.find((signature) => signature.name === wanted);
  if (found !== undefined) return found;
  const reason = name === undefined ? "more than one and none is the usual" : "no";
  throw new InvalidOptionsError(
    `signature: the SavedModel has ${reason} "${wanted ?? ""}"${suggestion(wanted ?? "", names)}; it has ${quoted(names)}`,
    { details: { option: "signature", signatures: names } },
  );
}

/** @throws InvalidOptionsError naming an output that does not exist */
export function chooseOutputs<T extends { readonly name: string }>(
  all: readonly T[],
  names: readonly string[] | undefined,
): readonly T[] {
  if (names === undefined) return all;
  const known = all.map(({ name }) => name);
  const wrong = names.find((name) => !known.includes(name));
  if (wrong === undefined) return all.filter(({ name }) => names.includes(name));
  throw new InvalidOptionsError(
    `outputs: the model has no output "${wrong}"${suggestion(wrong, known)}; it has ${quoted(known)}`,
    { details: { option: "outputs", outputs: known } },
  );
}

function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  return near === undefined ? "" : `, did you mean "${near}"?`;
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}

/** @throws UnsupportedModelError naming the tensor */
export function servedTensor(
  role: "input" | "output",
  { name, node, dtype, dimensions }: SignatureTensor,
): ModelTensor & { readonly node: string } {
  if (node === undefined) {
    throw new UnsupportedModelError(
      `${role} "${name}" is a sparse or ragged tensor, and only plain ones can be served; export the model with a tensor in its place`,
      { details: { [role]: name } },
    );
  }
  const datatype = nativeDatatype(dtype, { role, name });
  if (dimensions === undefined && role === "input") {
    throw new UnsupportedModelError(
      `input "${name}" has no shape in the signature; give it one (free dimensions are fine), as in tf.TensorSpec([None, 3], …)`,
      { details: { input: name } },
    );
  }
  return { name, node, datatype, dimensions };
}
