// The deployer of functions, and `deployFunction`, which gives it types.
import type { DeployedApplication, DeployOptions, JsonValue, Windjammer } from "../../core/index.ts";
import type { InputOf, InputTypeName } from "../input-types.ts";
import { functionDeployer } from "./deployer.ts";
import type {
  FunctionOptions,
  ModuleFunctionOptions,
  SchemaListOptions,
  SchemaSingleOptions,
  TypedListOptions,
  TypedSingleOptions,
} from "./options.ts";

type Deploys = Pick<Windjammer, "deploy">;

/**
 * Deploys a function as an endpoint: a live one with all it holds (`fn`), or an export of a module.
 *
 * @example
 * const scale = 2;
 * const sum = await deployFunction(wj, {
 *   name: "sum", version: "1", inputType: "doubles",
 *   fn: (inputs) => inputs.map((xs) => scale * xs.reduce((a, b) => a + b, 0)),
 * });
 * await sum.predict([1, 2, 3]); // 12
 *
 * @throws InvalidOptionsError (also for what `fn` holds and cannot leave this process, with its path),
 * ModelFileNotFoundError (module or export), InvalidModelFileError (does not compile), PackageNotFoundError, and what
 * `Windjammer.deploy` throws
 */
export async function deployFunction<Input, Output, Resources = undefined>(
  wj: Deploys,
  options: DeployOptions & SchemaSingleOptions<Input, Output, Resources>,
): Promise<DeployedApplication<Input, Output>>;
export async function deployFunction<Input, Output, Resources = undefined>(
  wj: Deploys,
  options: DeployOptions & SchemaListOptions<Input, Output, Resources>,
): Promise<DeployedApplication<Input, Output>>;
export async function deployFunction<const T extends InputTypeName, Output, Resources = undefined>(
  wj: Deploys,
  options: DeployOptions & TypedSingleOptions<T, Output, Resources>,
): Promise<DeployedApplication<InputOf<T>, Output>>;
export async function deployFunction<const T extends InputTypeName, Output, Resources = undefined>(
  wj: Deploys,
  options: DeployOptions & TypedListOptions<T, Output, Resources>,
): Promise<DeployedApplication<InputOf<T>, Output>>;
export async function deployFunction<const T extends InputTypeName, Output = JsonValue>(
  wj: Deploys,
  options: DeployOptions & ModuleFunctionOptions<T>,
): Promise<DeployedApplication<InputOf<T>, Output>>;
export async function deployFunction(
  wj: Deploys,
  options: DeployOptions & FunctionOptions,
): Promise<DeployedApplication<unknown, unknown>> {
  return wj.deploy<FunctionOptions, unknown, unknown>(functionDeployer, options);
}

export { functionDeployer } from "./deployer.ts";
export type {
  CallContext,
  FunctionOptions,
  LiveOptions,
  ModuleFunctionOptions,
  SchemaFunctionOptions,
  TypedFunctionOptions,
} from "./options.ts";
export { dryRun, type DryRun } from "./dry-run.ts";
export { inspect, type FunctionReport, type InspectOptions } from "./report.ts";
export type { InputOf, InputTypeName, NumberList, ValueOf } from "../input-types.ts";
export type { PackageOptions } from "../packages.ts";
