// What may be the name and the exact version of an npm package, and the name of an image, wherever one comes from.

/** Old packages have capitals. A leading "-" would be an option of npm, "." and "_" are not allowed by it. */
const NAME = /^(?:@[a-z0-9~][-a-z0-9._~]*\/)?[A-Za-z0-9~][-A-Za-z0-9._~]*$/;
const MAX_NAME_LENGTH = 214;
/** The pattern of semver.org. */
const VERSION =
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/;
const MAX_VERSION_LENGTH = 256;
/** With registry, tag or digest. No part begins with a hyphen, which tools take for an option, or a dot, which leads elsewhere in a path. */
const IMAGE = /^[A-Za-z0-9][\w.:@-]*(?:\/[A-Za-z0-9][\w.:@-]*)*$/;
const MAX_IMAGE_LENGTH = 1_000;

/** Whether npm knows packages by such a name; it is safe in a path and as an argument then. */
export function isPackageName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && NAME.test(name);
}

/** Whether it is one version, such as "1.2.3" or "1.2.3-rc.1", not a range or tag. */
export function isExactVersion(version: string): boolean {
  return version.length <= MAX_VERSION_LENGTH && VERSION.test(version);
}

/** Whether a container engine may know images by such a name; it is safe in a path, a Dockerfile and as an argument then. */
export function isImageName(name: string): boolean {
  return name.length <= MAX_IMAGE_LENGTH && IMAGE.test(name);
}
