// Packages of a bundle: the options that declare them, and what is installed where.
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { InvalidOptionsError, isExactVersion, isPackageName } from "../core/index.ts";

const ENVIRONMENT_NAME = /^[A-Z_][A-Z0-9_]*$/;

/** Options of every deployer whose models run in Node. */
export interface PackageOptions {
  /**
   * Packages by exact version, beside those found in the imports or over their version:
   * `{ "onnxruntime-node": "1.30.0" }`. Default: none.
   */
  readonly packages?: Readonly<Record<string, string>> | undefined;
  /** Packages whose install scripts may run (true). Default: none; no script runs. */
  readonly allowScripts?: Readonly<Record<string, boolean>> | undefined;
  /** Environment of the model container. Default: none of yours; nothing of this process's environment is passed on. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

const packageName = z.string().refine(isPackageName, "expected the name of a package");

/** Fields of a zod object for `PackageOptions`. */
export const packageOptionsShape: {
  readonly packages: z.ZodType<PackageOptions["packages"]>;
  readonly allowScripts: z.ZodType<PackageOptions["allowScripts"]>;
  readonly environment: z.ZodType<PackageOptions["environment"]>;
} = {
  packages: z.record(packageName, z.string().min(1).max(256)).optional(),
  allowScripts: z.record(packageName, z.boolean()).optional(),
  environment: z
    .record(
      z
        .string()
        .regex(ENVIRONMENT_NAME, "expected a variable name of A-Z, 0-9 and _")
        .refine(
          (name) => name !== "PORT" && !name.startsWith("WINDJAMMER_"),
          "expected another variable: PORT and WINDJAMMER_… are set by Windjammer",
        ),
      z.string().refine((value) => !value.includes("\0"), "expected a text without NUL characters"),
    )
    .optional(),
};

/** "@scope/name" or "name" of an import: "@scope/name/part" gives "@scope/name". */
export function packageOfImport(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/**
 * Holds declared versions to exact ones, so that a bundle runs the same wherever it is installed.
 * @param from folder whose installed packages are named in the message
 * @throws InvalidOptionsError
 */
export async function checkExact(packages: Readonly<Record<string, string>>, from: string): Promise<void> {
  for (const [name, version] of Object.entries(packages)) {
    if (isExactVersion(version)) continue;
    const installed = await installedVersion(name, from);
    throw new InvalidOptionsError(
      `packages: ${name} needs an exact version, got "${version}"; ` +
        (installed === undefined
          ? `write one that exists, such as the one that \`npm view ${name} version\` prints`
          : `write "${installed}", which is installed here`),
      { details: { option: `packages.${name}`, installed } },
    );
  }
}

/** By name, so that equal sets give equal manifests. */
export function sortedPackages(packages: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Version of a package as an import from `folder` finds it; undefined when there is none. */
export async function installedVersion(name: string, folder: string): Promise<string | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const found = await readPackage(join(at, "node_modules", name));
    if (found !== undefined) return found.version;
    if (dirname(at) === at) return undefined;
  }
}

/** What stands in the package.json of a folder; undefined when it has none that can be read. */
export async function readPackage(
  folder: string,
): Promise<{ readonly name?: string | undefined; readonly version?: string | undefined } | undefined> {
  try {
    return packageFile.parse(JSON.parse(await readFile(join(folder, "package.json"), "utf8")));
  } catch {
    return undefined;
  }
}

const packageFile = z.object({
  name: z.string().optional().catch(undefined),
  version: z.string().optional().catch(undefined),
});
