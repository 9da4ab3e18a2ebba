// Labels of what this driver makes on an engine: containers are found again by them, images are removed by them.
import { STAGE_LABEL } from "../../../containers/dockerfile.ts";
import type { ContainerState, Labels } from "../engine.ts";
import type { ReplicaSpec } from "../runtime.ts";

type LabelName =
  | "owner"
  | "replica"
  | "model"
  | "version"
  | "bundle"
  | "contract"
  | "deployer"
  | "release"
  | "server"
  | "base"
  | "packages"
  | "stage"
  | "folder"
  | "memory";

/** Label names, also for people: `docker ps --filter label=windjammer.model=digits`. */
export const LABEL: Readonly<Record<LabelName, string>> = {
  owner: "windjammer.owner",
  replica: "windjammer.replica",
  model: "windjammer.model",
  version: "windjammer.version",
  bundle: "windjammer.bundle",
  contract: "windjammer.contract",
  deployer: "windjammer.deployer",
  /** Version of Windjammer that built it. */
  release: "windjammer.release",
  /** Start of the sha256 of the server program in it. */
  server: "windjammer.server",
  /** Id of the image it was built on. */
  base: "windjammer.base",
  /** What its installed packages were made from; the stage that installed them has the same value. */
  packages: "windjammer.packages",
  stage: STAGE_LABEL,
  /** Folder of the host that holds a replica's socket; absent when it listens on a port. */
  folder: "windjammer.folder",
  /** Memory limit, MiB. */
  memory: "windjammer.memory-mb",
};

export function ownerLabels(owner: string): Labels {
  return { [LABEL.owner]: owner };
}

export function replicaLabels(owner: string, spec: ReplicaSpec): Labels {
  return {
    ...ownerLabels(owner),
    [LABEL.replica]: spec.id,
    [LABEL.model]: spec.model,
    [LABEL.version]: spec.version,
    [LABEL.bundle]: spec.bundle.hash,
  };
}

/** Who a container is, by its labels; undefined when it is no replica, such as a left-over trial. */
export function replicaOf({ labels }: ContainerState):
  | {
      readonly id: string;
      readonly model: string;
      readonly version: string;
      readonly memoryMb: number | undefined;
    }
  | undefined {
  const {
    [LABEL.replica]: id,
    [LABEL.model]: model,
    [LABEL.version]: version,
    [LABEL.memory]: memory,
  } = labels;
  if (id === undefined || model === undefined || version === undefined) return undefined;
  return { id, model, version, memoryMb: memory === undefined ? undefined : Number(memory) };
}
