// A user's project for tests: files as a map, packages installed into its node_modules by hand.
import { mkdir, realpath, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tempFolder } from "./temp.ts";

/** Writes files by path; returns the folder, links resolved. */
export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<string> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
  return realpath(folder);
}

/** A project in a folder of its own, removed when the running test has finished. */
export async function project(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  return writeFiles(await tempFolder("wj-project-"), files);
}

/** Files of an installed package: one ES module that exports its version. */
export function installed(name: string, version: string, extra = ""): Readonly<Record<string, string>> {
  const folder = `node_modules/${name}`;
  return {
    [`${folder}/package.json`]: JSON.stringify({
      name,
      version,
      type: "module",
      exports: { ".": "./index.js", "./part": "./part.js" },
    }),
    [`${folder}/index.js`]: `export const version = "${version}";\n${extra}`,
    [`${folder}/part.js`]: `export const part = "part of ${version}";\n`,
  };
}
