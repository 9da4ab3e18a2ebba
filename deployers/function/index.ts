// Deployer of a function: a module and its named export, bundled with the files it imports.
import { z } from "zod";
import {
  manifest,
  type BundleReport,
  type DeployedApplication,
  type Deployer,
  type DeployOptions,
  type JsonValue,
  type Manifest,
  type Windjammer,
} from "../../core/index.ts";
import {
  INPUT_TYPE_NAMES,
  longInputType,
  SHOWN_INPUT_TYPES,
  type InputOf,
  type InputTypeName,
} from "../input-types.ts";
import { locationSchema } from "../location.ts";
import { bundleModule } from "../module-bundle.ts";
import { packageOptionsShape, type PackageOptions } from "../packages.ts";

/** A function to deploy. It gets the list of inputs of a batch and returns as many outputs, in order. */
export interface FunctionOptions<T extends InputTypeName = InputTypeName> extends PackageOptions {
  /**
   * What one query holds: "integers", "floats", "doubles" (a list of numbers), "bytes", "strings", or "json" (any
   * value). Clipper's short forms mean the same: "ints", "d", "string", …
   */
  readonly inputType: T;
  /**
   * The module, JavaScript or TypeScript: a path, relative to the current folder, or a file URL. Files it imports are
   * bundled in; packages are installed where it runs, in the versions that are installed here.
   */
  readonly module: string | URL;
  /** Its export that is the function. Default "predict". */
  readonly export?: string | undefined;
}

const FILE = "function.mjs";

/** Deploys an export of a module; `deployFunction` is its typed form. */
export const functionDeployer: Deployer<FunctionOptions> = {
  name: "function",
  options: z.strictObject({
    inputType: z.enum(INPUT_TYPE_NAMES, `expected ${SHOWN_INPUT_TYPES}`),
    module: locationSchema,
    export: z.string().min(1).optional(),
    ...packageOptionsShape,
  }),
  async bundle(options: FunctionOptions, folder: string, report: BundleReport): Promise<Manifest> {
    const name = options.export ?? "predict";
    const { packages, notes } = await bundleModule(
      { module: options.module, exports: [name], packages: options.packages },
      { folder, fileName: FILE },
      report,
    );
    return manifest({
      deployer: "function",
      loader: "function",
      inputType: longInputType(options.inputType),
      packages,
      allowScripts: options.allowScripts ?? {},
      environment: options.environment ?? {},
      model: { file: FILE, export: name },
      notes,
    });
  },
};

/**
 * Deploys a function as an endpoint.
 *
 * @example
 * // sum.ts: export const predict = (inputs: number[][]) => inputs.map((xs) => xs.reduce((a, b) => a + b, 0));
 * const sum = await deployFunction<"doubles", number>(wj, { name: "sum", version: "1", inputType: "doubles", module: "sum.ts" });
 * await sum.predict([1, 2, 3]); // 6
 *
 * @throws InvalidOptionsError, ModelFileNotFoundError (module or export), InvalidModelFileError (does not compile),
 * PackageNotFoundError, and what `Windjammer.deploy` throws
 */
export async function deployFunction<const T extends InputTypeName, Output = JsonValue>(
  wj: Pick<Windjammer, "deploy">,
  options: DeployOptions & FunctionOptions<T>,
): Promise<DeployedApplication<InputOf<T>, Output>> {
  return wj.deploy<FunctionOptions, InputOf<T>, Output>(functionDeployer, options);
}

export type { InputOf, InputTypeName, NumberList } from "../input-types.ts";
export type { PackageOptions } from "../packages.ts";
