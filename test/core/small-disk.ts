// Mounts a small tmpfs, for tests of full and read-only disks; says why where that is not possible.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  readonly path: string;
  unmount(): void;
}

export async function mountSmallDisk(options: { readonly size: string }): Promise<SmallDisk> {
  const path = mkdtempSync(join(tmpdir(), "windjammer-disk-"));
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${options.size}`, "tmpfs", path]);
  if (status !== 0) {
    rmSync(path, { recursive: true });
    throw new Error(`mount failed: ${String(stderr).trim()}`);
  }
  return {
    path,
    unmount: () => {
      // Lazy, since a failed test may have left a file open.
      spawnSync("umount", ["-l", path]);
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Undefined when a tmpfs can be mounted here. */
export const whyNoMount: string | undefined = await mountSmallDisk({ size: "64k" }).then(
  (disk) => {
    disk.unmount();
    return undefined;
  },
  (error: unknown) => `skipped: no tmpfs can be mounted here, ${String(error)}`,
);
