// The root of the package: core's public API and the standard deployers.
export * from "../core/index.ts";
export {
  container,
  deployContainer,
  type ContainerInput,
  type ContainerModelOptions,
} from "./container/index.ts";
export {
  deployFunction,
  functionDeployer,
  type CallContext,
  type FunctionOptions,
  type InputOf,
  type InputTypeName,
  type LiveOptions,
  type ModuleFunctionOptions,
  type NumberList,
  type SchemaFunctionOptions,
  type TypedFunctionOptions,
  type ValueOf,
} from "./function/index.ts";
export {
  deployOnnxModel,
  onnx,
  type BatchAxis,
  type Feed,
  type FeedValue,
  type NestedValues,
  type OnnxOptions,
  type OnnxSessionOptions,
  type Postprocess,
  type Preprocess,
  type Processing,
  type ProcessingContext,
  type RowTensor,
  type TensorData,
  type TensorInput,
  type TensorOutput,
  type TensorValue,
} from "./onnx/index.ts";
export type { PackageOptions } from "./packages.ts";
