// Reads a bundle's manifest in the container and finds the loader it names.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MANIFEST_FILE, type Manifest, type TensorSpec } from "./protocol.ts";

const LOADER_NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;

/**
 * The frontend has checked the manifest thoroughly; this catches a wrong folder and a bundle of another release.
 * @throws Error with a message for whoever started the container
 */
export function readManifest(modelDir: string): Manifest {
  const path = join(modelDir, MANIFEST_FILE);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`cannot read the bundle's manifest ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const manifest = value as Partial<Manifest> | null;
  if (manifest?.format !== 1)
    throw new Error(
      `${path}: format ${JSON.stringify(manifest?.format)} is not known; this container reads 1`,
    );
  const { contract } = manifest;
  if (!areSpecs(contract?.inputs) || !areSpecs(contract?.outputs))
    throw new Error(`${path}: contract.inputs and contract.outputs must be lists of at least one tensor`);
  if (!contract?.isBatched)
    throw new Error(`${path}: contract.isBatched must be true; the containers of Windjammer take batches`);
  return manifest as Manifest;
}

function areSpecs(value: readonly TensorSpec[] | undefined): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((spec) => Array.isArray(spec.shape));
}

/**
 * URL of the loader's module, next to this file: .js once built, .ts in development.
 * @throws Error listing the loaders there are
 */
export function findLoader(name: string): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  if (LOADER_NAME.test(name)) {
    const url = new URL(`./${name}/loader.${extension}`, import.meta.url);
    if (existsSync(url)) return url.href;
  }
  const known = readdirSync(new URL(".", import.meta.url)).filter((folder) =>
    existsSync(new URL(`./${folder}/loader.${extension}`, import.meta.url)),
  );
  throw new Error(`the bundle needs loader ${JSON.stringify(name)}; this container has: ${known.join(", ")}`);
}
