// Which processes run: model containers by the state folder of their server, others by their id.
import { readdir, readFile } from "node:fs/promises";

/** Ids of the processes whose environment names the folder; undefined where there is no /proc to look into. */
export async function containersOf(stateDir: string): Promise<readonly number[] | undefined> {
  const names = await readdir("/proc").catch(() => undefined);
  if (names === undefined) return undefined;
  const found = await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (name) => {
        const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
        const variables = environment.split("\0");
        return variables.some((variable) => variable.startsWith(`WINDJAMMER_MODEL_DIR=${stateDir}/`))
          ? [Number(name)]
          : [];
      }),
  );
  return found.flat();
}

/** Whether a process of this id runs. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
