// Where a deployer's files are: paths and file URLs of options, and the check that a file is there.
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { InvalidModelFileError, ModelFileNotFoundError } from "../core/index.ts";

/** A path, relative to the current folder, or a `file:` URL, as text too: `new URL("./sum.ts", import.meta.url)`. */
export const locationSchema: z.ZodType<string | URL> = z.custom<string | URL>((value) => {
  if (value instanceof URL) return value.protocol === "file:";
  return typeof value === "string" && value !== "" && (value.startsWith("file://") || !value.includes("://"));
}, "expected the path of a file or a file: URL");

/** Absolute path of what `locationSchema` let through. */
export function toPath(location: string | URL): string {
  return location instanceof URL || location.startsWith("file://")
    ? fileURLToPath(location)
    : resolve(location);
}

/**
 * Size of a regular file.
 * @param what it is, for the message: "model file"
 * @throws ModelFileNotFoundError
 */
export async function fileSize(path: string, what: string): Promise<number> {
  let stats;
  try {
    stats = await stat(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw unreadable(path, error);
    throw new ModelFileNotFoundError(
      `${what} ${path} does not exist; relative paths start at the current folder (${process.cwd()})`,
      { details: { path } },
    );
  }
  if (stats.isFile()) return stats.size;
  throw new ModelFileNotFoundError(
    `${what} ${path} is ${stats.isDirectory() ? "a folder" : "no regular file"}; give the file itself`,
    { details: { path } },
  );
}

/** For a file that is there, but cannot be opened or read. */
export function unreadable(path: string, cause: unknown): InvalidModelFileError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new InvalidModelFileError(`cannot read ${path}: ${reason}; check its permissions`, {
    cause,
    details: { path },
  });
}
