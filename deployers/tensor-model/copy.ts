// Copies files of a model into a bundle.
import { chmod, constants, copyFile } from "node:fs/promises";
import { fileSize, unreadable } from "../location.ts";

/**
 * A clone where the file system can, else streamed by the kernel: weights do not pass through this process.
 * @returns its size in bytes
 */
export async function copyModelFile(from: string, to: string): Promise<number> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EACCES") throw unreadable(from, error);
    throw error;
  }
  // A bundle's hash takes in the executable bit, which says nothing about a model.
  await chmod(to, 0o644);
  return fileSize(to, "copy");
}
