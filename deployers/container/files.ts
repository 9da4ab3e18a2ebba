// The files of a folder that becomes a bundle: copied as they are, but for what .dockerignore leaves out.
import { cp, readFile, stat } from "node:fs/promises";
import { join, matchesGlob, relative } from "node:path";
import { InvalidModelFileError, InvalidOptionsError, ModelFileNotFoundError } from "../../core/index.ts";

/** Never part of a bundle: histories, and what is installed anew where it runs. */
const ALWAYS_LEFT_OUT: ReadonlySet<string> = new Set([".git", "node_modules", "__pycache__", ".venv"]);
const RESERVED = "manifest.json";

/** @throws ModelFileNotFoundError, InvalidOptionsError when it holds a file of a name that bundles have themselves */
export async function copyFolder(from: string, to: string): Promise<void> {
  const stats = await stat(from).catch(() => undefined);
  if (stats?.isDirectory() !== true) {
    throw new ModelFileNotFoundError(
      `folder ${from} does not exist; relative paths start at the current folder (${process.cwd()})`,
      { details: { path: from } },
    );
  }
  const isLeftOut = ignoring(await readFile(join(from, ".dockerignore"), "utf8").catch(() => ""));
  try {
    await cp(from, to, {
      recursive: true,
      dereference: true,
      filter: (path) => {
        const name = relative(from, path).replaceAll("\\", "/");
        if (name === RESERVED) {
          throw new InvalidOptionsError(
            `folder ${from} holds a file ${RESERVED}, which is the name of the bundle's own; rename it`,
            { details: { path } },
          );
        }
        return name === "" || !isLeftOut(name);
      },
    });
  } catch (error) {
    if (error instanceof InvalidOptionsError) throw error;
    throw new InvalidModelFileError(`cannot copy folder ${from}: ${(error as Error).message}`, {
      cause: error,
      details: { path: from },
    });
  }
}

/** Patterns of a .dockerignore: of several that fit the last one counts, and `!` takes a file in again. */
function ignoring(text: string): (name: string) => boolean {
  const patterns = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const isBack = line.startsWith("!");
      const pattern = line.slice(isBack ? 1 : 0).replace(/^\/+|\/+$/g, "");
      return { isBack, pattern };
    });
  return (name) => {
    if (name.split("/").some((part) => ALWAYS_LEFT_OUT.has(part))) return true;
    const last = patterns.findLast(
      ({ pattern }) => matchesGlob(name, pattern) || matchesGlob(name, `${pattern}/**`),
    );
    // The recipe itself is needed, whatever the context leaves out of the image.
    return name !== "Dockerfile" && last !== undefined && !last.isBack;
  };
}
