// A bundle as it is made on the client's side: in a temporary folder of its own, with its manifest and its hash.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Manifest, MANIFEST_FILE } from "../../containers/protocol.ts";
import { hashFolder } from "../deploy/bundle.ts";
import type { BundleReport, Deployer } from "../deploy/deployer.ts";
import { DiskFullError, isNodeError, toWindjammerError, WindjammerError } from "../errors.ts";

/** It is removed when it is disposed. */
export interface MadeBundle extends AsyncDisposable {
  readonly folder: string;
  /** sha256, hex: the bundle's name on the server. */
  readonly hash: string;
  readonly manifest: Manifest;
}

/** @throws what the deployer throws, DiskFullError */
export async function makeBundle<Options>(
  deployer: Deployer<Options>,
  options: Options,
  report: BundleReport,
): Promise<MadeBundle> {
  const folder = await temporaryFolder();
  // What the deployment came to says more than a folder that cannot be removed.
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true }).catch(() => undefined);
  try {
    report(`bundling with the ${deployer.name} deployer`);
    const manifest = await deployer.bundle(options, folder, report);
    await writeFile(join(folder, MANIFEST_FILE), canonicalJson(manifest));
    const hash = await hashFolder(folder);
    return { folder, hash, manifest, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw isNodeError(error) ? localError(error) : error;
  }
}

async function temporaryFolder(): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), "windjammer-bundle-"));
  } catch (error) {
    const known = localError(error);
    if (known instanceof DiskFullError) throw known;
    const reason = error instanceof Error ? error.message : String(error);
    throw new WindjammerError(
      `no bundle can be made in ${tmpdir()}: ${reason}; set TMPDIR to a folder that can be written`,
      { cause: error, details: { folder: tmpdir() } },
    );
  }
}

/** For what the file system of this machine says; what the server or a deployer says of its own stays as it is. */
export function localError(error: unknown): WindjammerError {
  if (error instanceof WindjammerError) return error;
  const known = toWindjammerError(error);
  if (!(known instanceof DiskFullError)) return known;
  return new DiskFullError(
    `no space left on this machine, where the bundle is made (${tmpdir()}): ${String(error)}; free some, or set TMPDIR to another folder`,
    { cause: error, details: { folder: tmpdir() } },
  );
}

/** Keys sorted, so that equal manifests are equal files. */
function canonicalJson(value: unknown): string {
  return `${JSON.stringify(value, withSortedKeys, 2)}\n`;
}

function withSortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
