// Images of model containers that are not ours: of a bundle's own Dockerfile, or one that exists and gets our labels.
import { createHash } from "node:crypto";
import type { ForeignSource } from "../../../containers/protocol.ts";
import type { BundleFolder } from "../../types.ts";
import type { PrepareOptions } from "../runtime.ts";
import { folderFiles } from "./context.ts";
import { imageTag, type ImagePlan } from "./image-plan.ts";
import { LABEL } from "./labels.ts";

/** Changes when what is made of a bundle does: images of another form get another name. */
const FORM = "foreign-1";

export function isForeignImage({ manifest: { container } }: BundleFolder): boolean {
  return container?.kind === "image" || container?.kind === "dockerfile";
}

/**
 * A foreign image is copied under a name of the version's own, so that a tag that moves changes nothing that is deployed;
 * a Dockerfile is built with the bundle's files as its context.
 */
export async function planForeignImage(
  bundle: BundleFolder,
  { model, version }: Pick<PrepareOptions, "model" | "version">,
): Promise<ImagePlan> {
  const { hash, manifest } = bundle;
  const container = manifest.container as ForeignSource;
  const key = createHash("sha256").update(`${FORM}\0${hash}`).digest("hex").slice(0, 12);
  const common = {
    tag: imageTag({ model, version }, key),
    needsBuildkit: false,
    madeLockfile: undefined,
    isPinned: true,
    labels: {
      ...(model === undefined ? {} : { [LABEL.model]: model }),
      ...(version === undefined ? {} : { [LABEL.version]: version }),
      [LABEL.bundle]: hash,
      [LABEL.deployer]: manifest.deployer,
    },
  };
  if (container.kind === "image")
    return {
      ...common,
      baseImage: container.image,
      texts: { Dockerfile: `FROM ${container.image}\n` },
      files: [],
    };
  return { ...common, baseImage: undefined, texts: {}, files: await folderFiles(bundle.files) };
}
