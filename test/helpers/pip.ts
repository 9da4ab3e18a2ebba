// What pip's index has, so that tests of real frameworks are skipped by name where it lacks them.
import { spawnSync } from "node:child_process";

/** Whether pip's index has them, for this Python and machine; asked of pip, which installs nothing. */
export function hasPackages(requirements: readonly string[], mayBuild = false): boolean {
  const wheels = mayBuild ? [] : ["--only-binary", ":all:"];
  const flags = ["--dry-run", "--quiet", "--no-deps", "--ignore-installed", ...wheels];
  const { status } = spawnSync("python3", ["-m", "pip", "install", ...flags, ...requirements], {
    env: { PIP_RETRIES: "0", ...process.env },
    timeout: 120_000,
  });
  return status === 0;
}
