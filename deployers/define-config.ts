// What windjammer.config.ts declares, and `defineConfig`, which gives it types.
import type { ApplicationOptions, ServerOptions, VersionOptions } from "../core/index.ts";
import type { InputTypeName } from "./input-types.ts";
import type { PackageOptions } from "./packages.ts";
import type { BatchAxis } from "./tensor-model/batch-axis.ts";
import type { Processing } from "./tensor-model/processing.ts";

/** A model that should serve. What is left out gets its default in a new version, and else stays as it is. */
export interface ModelConfig extends ApplicationOptions, VersionOptions, PackageOptions {
  /**
   * An .onnx file, a SavedModel folder, a model.json, a module, a folder with a Dockerfile, a Python folder or zip, an
   * image, or a URL. Paths are relative to the config file.
   */
  readonly source: string;
  /** What the source is: "onnx", "tensorflow", "function", "python", "dockerfile", "command", "image", "url". Default: by its looks. */
  readonly as?:
    | "onnx"
    | "tensorflow"
    | "function"
    | "python"
    | "dockerfile"
    | "command"
    | "image"
    | "url"
    | undefined;
  /** Program that serves the folder: `["python3", "server.py"]`. */
  readonly command?: readonly string[] | undefined;
  /** Default: the version that has this content, else the next free number. */
  readonly version?: string | undefined;
  /** What a query holds. Default of a module "json", else as the deployer decides. */
  readonly inputType?: InputTypeName | "tensor" | undefined;
  /** Export of a module that is the function. Default "predict". */
  readonly export?: string | undefined;
  /** Module with `preprocess` and `postprocess`, around a model of tensors; relative to the config file. */
  readonly processing?: Processing | undefined;
  readonly batchAxis?: BatchAxis | undefined;
  /** Most rows in one call. */
  readonly maxBatchSize?: number | undefined;
  readonly prepareTimeoutMs?: number | undefined;
  /** Any other option of its deployer: `{ sessionOptions: … }`. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
}

/** An application beside those that models have by their own name. */
export interface ApplicationConfig extends Omit<ApplicationOptions, "application"> {
  /** The model that answers it: one of the file, or one that is on the server already. */
  readonly model: string;
}

/** Options of `windjammer start --config`; `windjammer apply` finds the server by `adminPort`. */
export interface ServerFileOptions extends Omit<ServerOptions, "vertex"> {
  /** What runs the model containers. Default "process". */
  readonly runtime?: "process" | "docker" | undefined;
  /** With the Docker runtime: image with Node 24 that models are built on. */
  readonly baseImage?: string | undefined;
}

/** The content of windjammer.config.ts. */
export interface WindjammerConfig {
  readonly server?: ServerFileOptions | undefined;
  /**
   * Models by name. Each gets an application of its name, unless `applications` links one to it, or its `application`
   * says otherwise.
   */
  readonly models?: Readonly<Record<string, ModelConfig>> | undefined;
  /** Applications by name. */
  readonly applications?: Readonly<Record<string, ApplicationConfig>> | undefined;
}

/**
 * The default export of a windjammer.config.ts, for `windjammer apply`.
 *
 * @example
 * export default defineConfig({
 *   models: { digits: { source: "digits.onnx", replicas: 2, latencyObjectiveMs: 50 } },
 * });
 */
export function defineConfig(config: WindjammerConfig): WindjammerConfig {
  return config;
}
