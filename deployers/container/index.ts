// Deployer of a model server that exists already: an image, a folder with a Dockerfile, a program, or a URL.
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import {
  contractSchema,
  DECLARED_CONTRACT,
  InvalidOptionsError,
  isImageName,
  manifest,
  ModelFileNotFoundError,
  type BundleReport,
  type ContainerSource,
  type Contract,
  type DeployedApplication,
  type Deployer,
  type DeployOptions,
  type Manifest,
  type Windjammer,
} from "../../core/index.ts";
import { INPUT_TYPE_NAMES, longInputType, SHOWN_INPUT_TYPES, type InputTypeName } from "../input-types.ts";
import { fileSize, locationSchema, toPath } from "../location.ts";
import { packageOptionsShape, type PackageOptions } from "../packages.ts";
import type { TensorInput, TensorOutput } from "../tensor-model/values.ts";
import { copyFolder } from "./files.ts";
import { programPackages } from "./program-packages.ts";

/** A server of the Open Inference Protocol to deploy: exactly one of `image`, `dockerfile`, `command` and `url`. */
export interface ContainerModelOptions extends PackageOptions {
  /** An image that serves a model, on the engine or in a registry: "registry.example.org/spam:3". */
  readonly image?: string | undefined;
  /** A folder with a Dockerfile, which is built where the model runs; or the Dockerfile itself. */
  readonly dockerfile?: string | URL | undefined;
  /** A program with its arguments, that listens where WINDJAMMER_SOCKET or PORT says: `["python3", "server.py"]`. */
  readonly command?: readonly string[] | undefined;
  /** Files of the program, which is started in this folder. Default: none; the program is where the model runs already. */
  readonly folder?: string | URL | undefined;
  /** A server that runs elsewhere, or several of the same model: queries are spread over them. */
  readonly url?: string | readonly string[] | undefined;
  /**
   * Headers that a server elsewhere wants, each by the variable of Windjammer's own environment that holds its value:
   * `{ authorization: "WINDJAMMER_SECRET_SPAM" }`. The value itself is never part of the deployment.
   */
  readonly headersFrom?: Readonly<Record<string, string>> | undefined;
  /** Inputs and outputs of the model. Default: as the server declares them when it is first ready. */
  readonly contract?: Contract | undefined;
  /** What one query holds. Default "tensor": the model's inputs, nested or flat. */
  readonly inputType?: InputTypeName | "tensor" | undefined;
  /**
   * The server's name for the model. Default: the name it is deployed by, which the server finds in
   * WINDJAMMER_MODEL_NAME; of a server that does not know that name and has one model only, that one.
   */
  readonly modelName?: string | undefined;
  /** The server's version of the model, as on its paths: "2". Default: none, the one that it serves by itself. */
  readonly modelVersion?: string | undefined;
  /** TCP port that an image listens on whatever its environment says. Default: it follows WINDJAMMER_SOCKET or PORT. */
  readonly port?: number | undefined;
  /** How tensors travel. Default: in binary where the server announces that extension, else as JSON. */
  readonly tensors?: "binary" | "json" | undefined;
  /** Most rows in one call. Default: as the server says (Triton), else as the batching policy decides. */
  readonly maxBatchSize?: number | undefined;
}

const SOURCES = ["image", "dockerfile", "command", "url"] as const;
const httpUrl = z.url({ protocol: /^https?$/, error: "expected a URL with http:// or https://" });

const WORDS = 'expected a list of words, such as ["python3", "server.py"]';
const NO_VARIABLE = "expected the name of a variable of Windjammer's environment, WINDJAMMER_SECRET_…";

/** Deploys a server of the Open Inference Protocol; `deployContainer` is its typed form. */
export const container: Deployer<ContainerModelOptions> = {
  name: "container",
  options: z.strictObject({
    image: z.string().refine(isImageName, "expected the name of an image").optional(),
    dockerfile: locationSchema.optional(),
    command: z.array(z.string().min(1), WORDS).min(1).optional(),
    folder: locationSchema.optional(),
    url: z.union([httpUrl, z.array(httpUrl).min(1)]).optional(),
    headersFrom: z
      .record(z.string().min(1), z.string().regex(/^WINDJAMMER_SECRET_\w+$/, NO_VARIABLE))
      .optional(),
    contract: contractSchema
      .refine(
        ({ inputs, outputs }) => inputs.length > 0 && outputs.length > 0,
        "expected one input and one output at least",
      )
      .optional(),
    inputType: z.enum([...INPUT_TYPE_NAMES, "tensor"], `expected "tensor", ${SHOWN_INPUT_TYPES}`).optional(),
    modelName: z.string().min(1).optional(),
    modelVersion: z.string().min(1).optional(),
    port: z.int().min(1).max(65_535).optional(),
    tensors: z.enum(["binary", "json"]).optional(),
    maxBatchSize: z.int().min(1).max(100_000).optional(),
    ...packageOptionsShape,
  }),
  bundle: bundleContainer,
};

async function bundleContainer(
  options: ContainerModelOptions,
  folder: string,
  report: BundleReport,
): Promise<Manifest> {
  checkTogether(options);
  const source = await sourceOf(options, folder, report);
  const { contract = DECLARED_CONTRACT, inputType = "tensor", maxBatchSize } = options;
  return manifest({
    deployer: "container",
    loader: source.kind,
    container: source,
    inputType: inputType === "tensor" ? inputType : longInputType(inputType),
    contract: { ...contract, ...(maxBatchSize === undefined ? {} : { maxBatchSize }) },
    packages: options.command === undefined ? {} : await programPackages(options, folder),
    allowScripts: options.allowScripts ?? {},
    environment: options.environment ?? {},
  });
}

/** @throws InvalidOptionsError */
function checkTogether(options: ContainerModelOptions): void {
  const given = SOURCES.filter((name) => options[name] !== undefined);
  if (given.length !== 1) {
    throw new InvalidOptionsError(
      `expected exactly one of ${SOURCES.join(", ")}; got ${given.length === 0 ? "none" : given.join(" and ")}`,
      { details: { option: given[1] ?? SOURCES[0] } },
    );
  }
  // The value is not shown: it may be a password.
  if (urlsOf(options).some((url) => /[@?#]/.test(url))) {
    throw new InvalidOptionsError(
      "url: expected it without user, password, query and fragment; headersFrom names what proves who calls",
      { details: { option: "url" } },
    );
  }
  const belongs: Readonly<Partial<Record<keyof ContainerModelOptions, readonly string[]>>> = {
    folder: ["command"],
    packages: ["command"],
    allowScripts: ["command"],
    port: ["image", "dockerfile"],
    headersFrom: ["url"],
    environment: ["image", "dockerfile", "command"],
  };
  for (const [option, with_] of Object.entries(belongs)) {
    if (options[option as keyof ContainerModelOptions] === undefined || with_.includes(given[0] ?? ""))
      continue;
    throw new InvalidOptionsError(`${option}: expected it only with ${with_.join(" or ")}, not ${given[0]}`, {
      details: { option },
    });
  }
}

function urlsOf({ url = [] }: ContainerModelOptions): readonly string[] {
  return typeof url === "string" ? [url] : url;
}

async function sourceOf(
  options: ContainerModelOptions,
  folder: string,
  report: BundleReport,
): Promise<ContainerSource> {
  const { image, dockerfile, command, url, port, modelName, modelVersion, tensors } = options;
  const foreign = {
    ...(modelName === undefined ? {} : { modelName }),
    ...(modelVersion === undefined ? {} : { modelVersion }),
    ...(tensors === undefined ? {} : { tensors }),
  };
  const reached = { ...foreign, ...(port === undefined ? {} : { port }) };
  if (url !== undefined) {
    const urls = urlsOf(options);
    report(`queries will go to ${urls.join(", ")}`);
    const { headersFrom } = options;
    return { kind: "url", urls, ...(headersFrom === undefined ? {} : { headersFrom }), ...foreign };
  }
  if (command !== undefined) {
    if (options.folder !== undefined) await copyFolder(toPath(options.folder), folder);
    report(`the command is ${command.join(" ")}`);
    return { kind: "command", command, ...foreign };
  }
  if (dockerfile !== undefined) {
    const context = await contextOf(toPath(dockerfile));
    await copyFolder(context, folder);
    report(`copied ${context}`);
    return { kind: "dockerfile", ...reached };
  }
  report(`the image is ${image ?? ""}`);
  return { kind: "image", image: image ?? "", ...reached };
}

/** The folder of a Dockerfile, by its own path or by that of the file. */
async function contextOf(path: string): Promise<string> {
  const folder = basename(path) === "Dockerfile" ? dirname(path) : path;
  await fileSize(join(folder, "Dockerfile"), "the recipe").catch((error: unknown) => {
    if (!(error instanceof ModelFileNotFoundError)) throw error;
    throw new ModelFileNotFoundError(
      `${folder} has no Dockerfile; name the folder that holds one, or use image, command or url`,
      { cause: error, details: { path: folder } },
    );
  });
  return folder;
}

/**
 * Deploys a server of the Open Inference Protocol as an endpoint: one of your own, Triton, MLServer, TorchServe, KServe.
 *
 * @example
 * const spam = await deployContainer(wj, {
 *   name: "spam", version: "1", command: ["python3", "server.py"], folder: "./spam",
 * });
 * await spam.predict([0.5, 1.5]);
 *
 * @throws InvalidOptionsError, ModelFileNotFoundError, and what `Windjammer.deploy` throws
 */
export async function deployContainer<Input = TensorInput, Output = TensorOutput>(
  wj: Pick<Windjammer, "deploy">,
  options: DeployOptions & ContainerModelOptions,
): Promise<DeployedApplication<Input, Output>> {
  return wj.deploy<ContainerModelOptions, Input, Output>(container, options);
}
