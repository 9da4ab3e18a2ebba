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
  type ValueOf,
} from "../input-types.ts";
import { locationSchema } from "../location.ts";
import { bundleModule } from "../module-bundle.ts";
import { checkExact, packageOptionsShape, type PackageOptions } from "../packages.ts";
import { wireSchema, zodSchema } from "./schema.ts";

/** What a function in a module needs. It gets the list of inputs of a batch and returns as many outputs, in order. */
export interface ModuleFunctionOptions<T extends InputTypeName = InputTypeName> extends PackageOptions {
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

/** What a call of a live function gets beside its inputs and what `setup` gave. */
export interface CallContext {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What a live function can have whatever it takes. */
export interface LiveOptions<Resources = undefined> extends PackageOptions {
  /**
   * Runs once in each replica, before the first call; what it gives is the second argument of `fn`. For what cannot be
   * captured: sessions, connections, files.
   */
  readonly setup?: (() => Resources | Promise<Resources>) | undefined;
}

/** `fn` gets the list of inputs of a batch and returns as many outputs, in order. */
type ListFunction<Value, Output, Resources> = (
  inputs: Value[],
  resources: Resources,
  context: CallContext,
) => readonly Output[] | Promise<readonly Output[]>;

/** With `single: true`, `fn` gets one input and returns its output. */
type SingleFunction<Value, Output, Resources> = (
  input: Value,
  resources: Resources,
  context: CallContext,
) => Output | Promise<Output>;

type Fn<Value, Output, Resources> =
  | { readonly fn: ListFunction<Value, Output, Resources>; readonly single?: false | undefined }
  | { readonly fn: SingleFunction<Value, Output, Resources>; readonly single: true };

/** A live function by the name of its input type. */
export type TypedFunctionOptions<
  T extends InputTypeName,
  Output,
  Resources = undefined,
> = LiveOptions<Resources> & Fn<ValueOf<T>, Output, Resources> & { readonly inputType: T };

/** A live function whose inputs the endpoint holds to a zod schema. */
export type SchemaFunctionOptions<Input, Output, Resources = undefined> = LiveOptions<Resources> &
  Fn<Input, Output, Resources> & {
    readonly input: z.ZodType<Input, Input>;
    /** Gives the type of outputs, and their schema in the description of the endpoint. */
    readonly output?: z.ZodType<Output, Output> | undefined;
  };

/** All that the deployer takes; `deployFunction` has the types that fit together. */
export interface FunctionOptions extends PackageOptions {
  readonly inputType?: InputTypeName | undefined;
  readonly module?: string | URL | undefined;
  readonly export?: string | undefined;
  readonly fn?: object | undefined;
  readonly single?: boolean | undefined;
  readonly setup?: object | undefined;
  readonly input?: z.ZodType | undefined;
  readonly output?: z.ZodType | undefined;
}

const FILE = "function.mjs";
const aFunction = z.custom<object>((value) => typeof value === "function", "expected a function");

/** Deploys a function: an export of a module, or a live one. `deployFunction` is its typed form. */
export const functionDeployer: Deployer<FunctionOptions> = {
  name: "function",
  options: z
    .strictObject({
      inputType: z.enum(INPUT_TYPE_NAMES, `expected ${SHOWN_INPUT_TYPES}`).optional(),
      module: locationSchema.optional(),
      export: z.string().min(1).optional(),
      fn: aFunction.optional(),
      single: z.boolean().optional(),
      setup: aFunction.optional(),
      input: zodSchema.optional(),
      output: zodSchema.optional(),
      ...packageOptionsShape,
    })
    .check(({ value, issues }) => {
      const problem = combinationProblem(value);
      if (problem !== undefined)
        issues.push({ code: "custom", path: [problem[0]], message: problem[1], input: undefined });
    }),
  async bundle(options: FunctionOptions, folder: string, report: BundleReport): Promise<Manifest> {
    return options.fn === undefined
      ? bundleExport(options, folder, report)
      : bundleLive({ ...options, fn: options.fn }, folder, report);
  },
};

/** Which option is wrong with the others, and what was expected. */
function combinationProblem(
  options: FunctionOptions,
): readonly [option: keyof FunctionOptions, message: string] | undefined {
  const { fn, module, inputType, input } = options;
  if (fn === undefined && module === undefined) return ["module", "expected a module, or a function as fn"];
  const has = (name: keyof FunctionOptions): boolean => options[name] !== undefined;
  const strange = (fn === undefined ? (["single", "setup"] as const) : (["module", "export"] as const)).find(
    has,
  );
  if (strange !== undefined)
    return [strange, fn === undefined ? "expected it only with fn" : "expected none beside fn"];
  if (inputType === undefined && input === undefined)
    return ["inputType", `expected one of ${INPUT_TYPE_NAMES.join(", ")}, or a zod schema as input`];
  const isOther = input !== undefined && inputType !== undefined && inputType !== "json";
  return isOther ? ["inputType", "expected none beside input"] : undefined;
}

async function bundleExport(
  options: FunctionOptions,
  folder: string,
  report: BundleReport,
): Promise<Manifest> {
  const name = options.export ?? "predict";
  const { packages, notes } = await bundleModule(
    { module: options.module ?? "", exports: [name], packages: options.packages },
    { folder, fileName: FILE },
    report,
  );
  return functionManifest(options, { packages, notes, model: { file: FILE, export: name } });
}

async function bundleLive(
  options: FunctionOptions & { readonly fn: object },
  folder: string,
  report: BundleReport,
): Promise<Manifest> {
  await checkExact(options.packages ?? {}, process.cwd());
  const { serialize, CLOSURE_FILES } = await import("./closure/serialize.ts");
  const { fn, setup } = options;
  const { packages, warnings, files } = serialize({ fn, setup, packages: options.packages }, folder);
  const bytes = Object.values(files).reduce((total, size) => total + size, 0);
  const names = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  report(
    `captured fn in ${bytes} bytes ${names.length === 0 ? "without packages" : `with ${names.join(", ")}`}`,
    {
      bytes,
    },
  );
  for (const warning of warnings) report(`warning: ${warning}`);
  return functionManifest(options, {
    packages: { ...packages, ...options.packages },
    notes: warnings,
    model: { ...CLOSURE_FILES, isSingle: options.single === true },
  });
}

function functionManifest(
  { inputType = "json", input, output, allowScripts, environment }: FunctionOptions,
  fields: Pick<Manifest, "packages" | "notes" | "model">,
): Manifest {
  const schemas = {
    ...(input === undefined ? {} : { input: wireSchema(input, "input") }),
    ...(output === undefined ? {} : { output: wireSchema(output, "output") }),
  };
  return manifest({
    deployer: "function",
    loader: "function",
    inputType: longInputType(inputType),
    ...fields,
    ...(Object.keys(schemas).length === 0 ? {} : { schemas }),
    allowScripts: allowScripts ?? {},
    environment: environment ?? {},
  });
}

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
  options: DeployOptions & SchemaFunctionOptions<Input, Output, Resources>,
): Promise<DeployedApplication<Input, Output>>;
export async function deployFunction<const T extends InputTypeName, Output, Resources = undefined>(
  wj: Deploys,
  options: DeployOptions & TypedFunctionOptions<T, Output, Resources>,
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

export type { InputOf, InputTypeName, NumberList, ValueOf } from "../input-types.ts";
export type { PackageOptions } from "../packages.ts";
