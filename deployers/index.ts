// The root of the package: core's public API and the standard deployers.
export * from "../core/index.ts";
export { container, deployContainer, type ContainerModelOptions } from "./container/index.ts";
export {
  defineConfig,
  type ApplicationConfig,
  type ModelConfig,
  type ServerFileOptions,
  type WindjammerConfig,
} from "./define-config.ts";
export {
  deployFunction,
  dryRun,
  functionDeployer,
  inspect,
  type CallContext,
  type DryRun,
  type FunctionOptions,
  type FunctionReport,
  type InputOf,
  type InputTypeName,
  type InspectOptions,
  type LiveOptions,
  type ModuleFunctionOptions,
  type NumberList,
  type SchemaFunctionOptions,
  type TypedFunctionOptions,
  type ValueOf,
} from "./function/index.ts";
export { deployOnnxModel, onnx, type OnnxOptions, type OnnxSessionOptions } from "./onnx/index.ts";
export type { PackageOptions } from "./packages.ts";
export {
  deployTensorFlowModel,
  tensorflow,
  type LiveTfjsModel,
  type TensorFlowBackend,
  type TensorFlowOptions,
} from "./tensorflow/index.ts";
export type { BatchAxis } from "./tensor-model/batch-axis.ts";
export type { TensorModelOptions } from "./tensor-model/options.ts";
export type { Processing } from "./tensor-model/processing.ts";
export type {
  EncodedBytes,
  Feed,
  FeedValue,
  NestedValues,
  Postprocess,
  Preprocess,
  ProcessingContext,
  RowTensor,
  StringElement,
  TensorData,
  TensorInput,
  TensorOutput,
  TensorValue,
} from "./tensor-model/values.ts";
export {
  deployPython,
  python,
  type ContractOptions,
  type PythonOptions,
  type PythonTensor,
} from "./python/index.ts";
