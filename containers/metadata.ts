// Server and model metadata in the form of the Open Inference Protocol.
import { basename } from "node:path";
import { type Contract, INFER_SOCKET, type Manifest, type TensorSpec } from "./protocol.ts";

/** Version of what this server speaks beside the protocol: headers, content types, the error tensor. */
const SERVER_VERSION = "1";

/** Platform names of our loaders, as `project_format`; others get their loader's name. */
const PLATFORMS: Readonly<Record<string, string>> = {
  function: "javascript_function",
  onnx: "onnx_onnxv1",
};

export function serverMetadata(): object {
  return {
    name: "windjammer",
    version: SERVER_VERSION,
    extensions: ["binary_tensor_data", "windjammer_item_errors"],
  };
}

export function modelMetadata(
  model: { readonly name: string; readonly version: string },
  manifest: Manifest,
  inferSocket?: string,
): object {
  const { contract } = manifest;
  return {
    name: model.name,
    versions: [model.version],
    platform: platformOf(manifest),
    inputs: contract.inputs.map((spec) => tensorMetadata(spec, contract)),
    outputs: contract.outputs.map((spec) => tensorMetadata(spec, contract)),
    ...(inferSocket === undefined ? {} : { parameters: { [INFER_SOCKET]: basename(inferSocket) } }),
  };
}

/** What serves the model, as `project_format`. */
export function platformOf({ loader }: Manifest): string {
  return PLATFORMS[loader] ?? `windjammer_${loader}`;
}

/** A tensor as model metadata have it. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: string;
  /** With the batch axis; -1: any size. */
  readonly shape: readonly number[];
  readonly parameters?: { readonly content_type: string };
}

export function tensorMetadata(spec: TensorSpec, contract: Contract): TensorMetadata {
  return {
    name: spec.name,
    datatype: spec.datatype,
    shape: contract.isBatched ? [-1, ...spec.shape] : spec.shape,
    ...(spec.contentType === undefined ? {} : { parameters: { content_type: spec.contentType } }),
  };
}
