// Deployer of a Python model: a folder or zip with predict.py, Backprop's inference.py, or a pickled callable.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import {
  InvalidModelFileError,
  InvalidOptionsError,
  manifest,
  packageKey,
  parseRequirements,
  UnsupportedModelError,
  type BundleReport,
  type DeployedApplication,
  type Deployer,
  type DeployOptions,
  type JsonValue,
  type Manifest,
  type Requirement,
  type Windjammer,
} from "../../core/index.ts";
import type { InputOf, InputTypeName } from "../input-types.ts";
import { locationSchema, toPath } from "../location.ts";
import { packageOptionsShape, type PackageOptions } from "../packages.ts";
import { contractOf, contractShape, type ContractOptions, type PythonContract } from "./contract.ts";
import { findEntry, type Entry } from "./entry.ts";
import { copyFiles, openFolder, openZip, readText, type ModelSource } from "./source.ts";
import { tasksOf, tasksSchema } from "./tasks.ts";

/** A Python model to deploy: exactly one of `folder` and `zip`. */
export interface PythonOptions extends ContractOptions, Pick<PackageOptions, "environment"> {
  /**
   * The model's folder: a path, relative to the current folder, or a file URL. At its top `predict.py` (`predict(model,
   * inputs)`, and `load_model(dir)` where there is something to load), Backprop's `inference.py` (`load_model(dir_path)`,
   * `call_model(model, params, task)`), or `model.bin`, a callable pickled with dill, cloudpickle or pickle. Its
   * `requirements.txt` names packages by exact version, `contract.json` may hold the options of the contract.
   */
  readonly folder?: string | URL | undefined;
  /** The same as a zip. */
  readonly zip?: string | URL | undefined;
  /**
   * Tasks of Backprop's forms: each query is then the params of one call, and the first task is the default, or `task` in
   * it names another. Default: those of config.json, else none.
   */
  readonly tasks?: readonly string[] | undefined;
  /** Packages that may be built from source, which runs their own code. Default: none; wheels only. */
  readonly buildFromSource?: readonly string[] | undefined;
}

const REQUIREMENTS = "requirements.txt";
const RESERVED = "manifest.json";

/** Deploys a Python model; `deployPython` is its typed form. */
export const python: Deployer<PythonOptions> = {
  name: "python",
  options: z
    .strictObject({
      folder: locationSchema.optional(),
      zip: locationSchema.optional(),
      tasks: tasksSchema.optional(),
      buildFromSource: z
        .array(
          z.string().regex(/^[A-Za-z0-9](?:[-A-Za-z0-9._]*[A-Za-z0-9])?$/, "expected the name of a package"),
        )
        .max(100)
        .optional(),
      environment: packageOptionsShape.environment,
      ...contractShape,
    })
    .check(({ value, issues }) => {
      if ((value.folder === undefined) === (value.zip === undefined))
        issues.push({
          code: "custom",
          path: ["folder"],
          message: "expected either a folder or a zip",
          input: undefined,
        });
    }),
  bundle: bundlePython,
};

async function bundlePython(options: PythonOptions, folder: string, report: BundleReport): Promise<Manifest> {
  await using source = await (options.zip === undefined
    ? openFolder(toPath(options.folder ?? ""))
    : openZip(toPath(options.zip)));
  const entry = await findEntry(source);
  const requirements = await requirementsOf(source);
  const tasks = await tasksFor(entry, source, options.tasks);
  const described = await contractOf(source, options);
  if (source.files.some(({ name }) => name === RESERVED))
    throw new UnsupportedModelError(`${source.path} has a file ${RESERVED}, which bundles use; rename yours`);
  const bytes = await copyFiles(source, folder, [REQUIREMENTS]);
  if (requirements.length > 0)
    await writeFile(join(folder, REQUIREMENTS), requirements.map(({ line }) => `${line}\n`).join(""));
  report(`copied ${source.files.length} files of ${entry.file} from ${source.path}`, { bytes });
  return manifest({
    deployer: "python",
    loader: "python",
    container: { kind: "python" },
    inputType: described.inputType,
    contract: described.contract,
    environment: options.environment ?? {},
    allowScripts: Object.fromEntries((options.buildFromSource ?? []).map((name) => [name, true])),
    model: { form: entry.form, file: entry.file, ...(tasks.length === 0 ? {} : { tasks: [...tasks] }) },
    notes: notesOf(entry, described, requirements),
  });
}

async function requirementsOf(source: ModelSource): Promise<readonly Requirement[]> {
  const text = await readText(source, REQUIREMENTS);
  const parsed = parseRequirements(text ?? "");
  if ("requirements" in parsed) return parsed.requirements;
  throw new InvalidModelFileError(`${REQUIREMENTS} in ${source.path}: ${parsed.problem}`, {
    details: { path: source.path },
  });
}

async function tasksFor(
  { form, file }: Entry,
  source: ModelSource,
  given: readonly string[] | undefined,
): Promise<readonly string[]> {
  if (form !== "predict") return given ?? tasksOf(source);
  if (given === undefined) return [];
  throw new InvalidOptionsError(
    `tasks are for Backprop's forms, inference.py and model.bin; ${file} gets a list of inputs`,
    { details: { option: "tasks" } },
  );
}

function notesOf(
  { form, file }: Entry,
  { inputType, hasTensors }: PythonContract,
  requirements: readonly Requirement[],
): string[] {
  const hasNumpy = requirements.some(({ name }) => packageKey(name) === "numpy");
  const isNumeric = inputType === "integers" || inputType === "floats" || inputType === "doubles";
  return [
    ...(form === "pickle"
      ? [
          `${file} is a pickle, which is code: it is loaded in the model container only, with the Python and packages there`,
        ]
      : []),
    ...(hasTensors && !hasNumpy
      ? [
          `declared tensors are numpy arrays, and ${REQUIREMENTS} does not name numpy: another package has to bring it`,
        ]
      : []),
    ...(isNumeric && !hasNumpy
      ? [`${REQUIREMENTS} does not name numpy: without it, rows of numbers are lists in place of arrays`]
      : []),
  ];
}

/**
 * Deploys a Python model as an endpoint. Nothing of it runs here: pickles are code, and are loaded in the model container
 * only.
 *
 * @example
 * const iris = await deployPython<"floats", string>(wj, {
 *   name: "iris", version: "1", folder: "models/iris", inputType: "floats",
 * });
 * await iris.predict([5.1, 3.5, 1.4, 0.2]); // "setosa"
 *
 * @throws InvalidOptionsError, ModelFileNotFoundError (no folder, no entry file), InvalidModelFileError (a function is
 * missing, requirements are not exact, a broken zip), UnsupportedModelError (links, limits), and what
 * `Windjammer.deploy` throws
 */
export async function deployPython<const T extends InputTypeName | "tensor" = "json", Output = JsonValue>(
  wj: Pick<Windjammer, "deploy">,
  options: DeployOptions & PythonOptions & { readonly inputType?: T | undefined },
): Promise<DeployedApplication<T extends InputTypeName ? InputOf<T> : JsonValue, Output>> {
  return wj.deploy(python, options);
}

export type { ContractOptions, PythonTensor } from "./contract.ts";
