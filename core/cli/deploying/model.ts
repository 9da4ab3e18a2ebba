// A model that is to be deployed: what it was taken for, its deployer, its options checked, and its bundle.
import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { MANIFEST_FILE } from "../../../containers/protocol.ts";
import { type MadeBundle, makeBundle } from "../../client/bundle.ts";
import { checkDeployOptions, type CheckedOptions } from "../../client/deploy-options.ts";
import type { DeployOptions, Windjammer } from "../../client/interface.ts";
import type { BundleReport, Deployer } from "../../deploy/deployer.ts";
import { InvalidOptionsError, ModelNotFoundError } from "../../errors.ts";
import { chooseVersion, type KnownVersions } from "./choose-version.ts";
import { look } from "./look.ts";
import type { ModelKind } from "./kinds.ts";
import { type Recognized, recognize } from "./recognize.ts";

type OptionMap = Readonly<Record<string, unknown>>;

/** What a command line or a config file says of a model; `version` only where the user names one. */
export interface ModelRequest {
  readonly target: string;
  readonly as: ModelKind | undefined;
  /** Options as a deploy call takes them; `name` and `version` may be missing. */
  readonly options: OptionMap;
  /** Folder that the target's path starts at. Default: the current one. */
  readonly base?: string | undefined;
}

export interface FoundModel {
  readonly recognized: Recognized;
  readonly name: string;
  /** Undefined: chosen by the content. */
  readonly version: string | undefined;
  readonly deployer: Deployer<object>;
  readonly checked: CheckedOptions<object>;
}

/** @throws ModelFileNotFoundError, InvalidModelFileError, InvalidOptionsError, before anything is bundled */
export async function findModel(asked: ModelRequest): Promise<FoundModel> {
  const { target, options, base } = asked;
  const recognized = recognize(await look(target, base), kindNamed(asked));
  const deployer = await deployerOf(recognized.kind);
  const name = options["name"] ?? recognized.name;
  if (name === undefined) {
    throw new InvalidOptionsError(
      `no name for an application can be made of ${target}; give one: --name (a-z, 0-9, inner - and _)`,
      { details: { option: "name" } },
    );
  }
  const { version } = options;
  const inputType = recognized.kind === "function" ? { inputType: "json" } : {};
  const all: OptionMap = { ...inputType, ...options, ...recognized.options, name, version: version ?? "1" };
  const checked = checkDeployOptions(deployer, all as DeployOptions & object);
  return {
    recognized,
    name: checked.request.name,
    version: version === undefined ? undefined : checked.request.version,
    deployer,
    checked,
  };
}

/** The kind that its user names: a folder says nothing of the program that serves it. @throws InvalidOptionsError */
function kindNamed({ target, as, options: { command } }: ModelRequest): ModelKind | undefined {
  if (as === "command" && command === undefined) {
    throw new InvalidOptionsError(
      `--as command: which program serves ${target}? Name it: --command "python3 server.py"`,
      { details: { option: "command" } },
    );
  }
  if (as !== undefined && as !== "command" && command !== undefined) {
    throw new InvalidOptionsError(
      `--as ${as} and --command contradict each other: a command makes it a folder that a program serves; leave one of them out`,
      { details: { option: "as" } },
    );
  }
  return as ?? (command === undefined ? undefined : "command");
}

/** Late: the deployers load whole libraries. */
async function deployerOf(kind: ModelKind): Promise<Deployer<object>> {
  const { container, functionDeployer, onnx, python, tensorflow } =
    await import("../../../deployers/index.ts");
  const deployers: Readonly<Record<ModelKind, Deployer<object>>> = {
    onnx,
    tensorflow,
    python,
    function: functionDeployer,
    dockerfile: container,
    command: container,
    image: container,
    url: container,
  };
  return deployers[kind];
}

export function bundleModel({ deployer, checked }: FoundModel, report: BundleReport): Promise<MadeBundle> {
  return makeBundle(deployer, checked.own, report);
}

/** A deployer that gives a bundle that is made already, once: its files are moved. */
export function alreadyMade(
  { folder: made, manifest }: MadeBundle,
  { deployer }: FoundModel,
): Deployer<object> {
  return {
    ...deployer,
    bundle: async (_, folder) => {
      for (const name of await readdir(made))
        if (name !== MANIFEST_FILE) await rename(join(made, name), join(folder, name));
      return manifest;
    },
  };
}

/** The version that a bundle is deployed as: the one that its user names, else by its content. */
export async function versionFor(
  wj: Pick<Windjammer, "models" | "versions">,
  model: FoundModel,
  bundle: string,
): Promise<string> {
  if (model.version !== undefined) return model.version;
  return chooseVersion(await knownVersions(wj, model.name), bundle, model.checked.request);
}

export async function knownVersions(
  wj: Pick<Windjammer, "models" | "versions">,
  name: string,
): Promise<KnownVersions> {
  const current = (await wj.models()).find((model) => model.name === name)?.currentVersion;
  if (current === undefined) return { versions: [], current };
  try {
    return { versions: await wj.versions(name), current };
  } catch (error) {
    // It was deleted in between.
    if (error instanceof ModelNotFoundError) return { versions: [], current: undefined };
    throw error;
  }
}
