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
  const { contract, loader } = manifest;
  return {
    name: model.name,
    versions: [model.version],
    platform: PLATFORMS[loader] ?? `windjammer_${loader}`,
    inputs: contract.inputs.map((spec) => tensorMetadata(spec, contract)),
    outputs: contract.outputs.map((spec) => tensorMetadata(spec, contract)),
    ...(inferSocket === undefined ? {} : { parameters: { [INFER_SOCKET]: basename(inferSocket) } }),
  };
}

function tensorMetadata(spec: TensorSpec, contract: Contract): object {
  return {
    name: spec.name,
    datatype: spec.datatype,
    shape: contract.isBatched ? [-1, ...spec.shape] : spec.shape,
    ...(spec.contentType === undefined ? {} : { parameters: { content_type: spec.contentType } }),
  };
}
