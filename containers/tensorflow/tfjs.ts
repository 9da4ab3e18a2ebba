// The parts of TensorFlow.js in use, so that neither checking nor building needs its packages; and how they are loaded.
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import type { TensorFlowModelSettings } from "./settings.ts";

export interface TfTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  dataSync(): Float32Array | Int32Array | Uint8Array | readonly string[];
  dispose(): void;
}

export type TfOutput = TfTensor | readonly TfTensor[];

export interface TfLayersModel {
  predictOnBatch(inputs: readonly TfTensor[]): TfOutput;
  dispose(): unknown;
}

export interface TfGraphModel {
  execute(inputs: Readonly<Record<string, TfTensor>>, outputs: readonly string[]): TfOutput;
  executeAsync(inputs: Readonly<Record<string, TfTensor>>, outputs: readonly string[]): Promise<TfOutput>;
  dispose(): unknown;
}

/** Hands the files of a model over to TensorFlow.js. */
export interface ModelFiles {
  load(): Promise<object>;
}

/** What a session needs of TensorFlow.js, whichever packages it comes from. */
export interface Tfjs {
  readonly tensor: (data: ArrayLike<unknown>, shape: readonly number[], dtype: string) => TfTensor;
  readonly dispose: (tensors: readonly TfTensor[]) => void;
  readonly loadLayersModel: (files: ModelFiles) => Promise<TfLayersModel>;
  readonly loadGraphModel: (files: ModelFiles) => Promise<TfGraphModel>;
}

/** The native half of @tensorflow/tfjs-node; tensors go by number. */
export interface TfBinding {
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_INT64: number;
  readonly TF_UINT8: number;
  readonly TF_BOOL: number;
  readonly TF_STRING: number;
  loadSavedModel(path: string, tags: string): number;
  deleteSavedModel(model: number): void;
  createTensor(
    shape: readonly number[],
    dtype: number,
    data: ArrayBufferView | readonly Uint8Array[],
  ): number;
  deleteTensor(tensor: number): void;
  tensorDataSync(tensor: number): ArrayBufferView | readonly Uint8Array[];
  /** Names are joined with commas: "serving_default_image:0". */
  runSavedModel(
    model: number,
    tensors: readonly number[],
    inputs: string,
    outputs: string,
  ): readonly { readonly id: number; readonly shape: readonly number[] }[];
}

interface Core extends Tfjs {
  enableProdMode(): void;
  setBackend(name: string): Promise<boolean>;
  findBackend(name: string): { readonly binding?: Partial<TfBinding> } | null;
}

const NODE_PACKAGE = "@tensorflow/tfjs-node";

/** @throws Error saying which package is missing, or cannot be loaded */
export async function loadTfjs(
  settings: Pick<TensorFlowModelSettings, "backend" | "format">,
  modelDir: string,
): Promise<Tfjs> {
  const packages = new Packages(modelDir);
  if (settings.backend === "tensorflow") return packages.native();
  const core = packages.load("@tensorflow/tfjs-core") as Core;
  if (settings.backend === "wasm") {
    const { setWasmPaths } = packages.load("@tensorflow/tfjs-backend-wasm") as {
      readonly setWasmPaths: (folder: string) => void;
    };
    setWasmPaths(`${dirname(packages.find("@tensorflow/tfjs-backend-wasm"))}${sep}`);
  } else packages.load("@tensorflow/tfjs-backend-cpu");
  // tfjs-layers and tfjs-converter bring their own operations; the core's do for both.
  const loaders =
    settings.format === "layers-model"
      ? packages.load("@tensorflow/tfjs-layers")
      : packages.load("@tensorflow/tfjs-converter");
  // Without it the log begins with an advertisement.
  core.enableProdMode();
  if (!(await core.setBackend(settings.backend)))
    throw new Error(`TensorFlow.js cannot start its backend "${settings.backend}"`);
  const { tensor, dispose } = core;
  return { tensor, dispose, ...(loaders as Pick<Tfjs, "loadLayersModel" | "loadGraphModel">) };
}

/** @throws Error saying which package is missing, or cannot be loaded */
export function loadBinding(modelDir: string): TfBinding {
  const { binding } = new Packages(modelDir).native().findBackend("tensorflow") ?? {};
  if (binding?.runSavedModel === undefined || binding.createTensor === undefined)
    throw new Error(`this version of ${NODE_PACKAGE} is not known; 4.22.0 is`);
  return binding as TfBinding;
}

/** Packages of a bundle, found from its folder. */
class Packages {
  readonly #require: NodeJS.Require;

  constructor(modelDir: string) {
    this.#require = createRequire(join(modelDir, "model.js"));
  }

  native(): Core {
    restoreUtil(this.#require);
    return this.load(NODE_PACKAGE) as Core;
  }

  find(name: string): string {
    return this.#require.resolve(name);
  }

  load(name: string): unknown {
    try {
      return this.#require(name);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new Error(
        code === "MODULE_NOT_FOUND" && message.includes(`'${name}'`)
          ? `the package ${name} is not installed for this bundle; declare it with its exact version in the manifest: "packages": { "${name}": "4.22.0" }`
          : `the package ${name} cannot be loaded: ${message}`,
        { cause: error },
      );
    }
  }
}

/** Node 24 took the first away; tfjs-node 4.22.0, the last one, calls both in every operation. */
function restoreUtil(require: NodeJS.Require): void {
  const util = require("node:util") as Record<string, unknown>;
  util["isNullOrUndefined"] ??= (value: unknown): boolean => value === null || value === undefined;
  // Still there, but each call would be warned about.
  util["isArray"] = Array.isArray;
}
