// Mounts that an engine leaves below a folder when it is killed.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Unmounts all that is mounted below a folder, the innermost first. */
export async function removeMounts(folder: string): Promise<void> {
  const mounts = (await readFile("/proc/mounts", "utf8"))
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${folder}/`));
  for (const path of mounts.toReversed()) await run("umount", ["--lazy", path]).catch(() => {});
}
