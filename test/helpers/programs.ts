// Which programs this machine has: the cases that need another one are skipped by name.
import { spawnSync } from "node:child_process";

/** Whether a program is there; `args` have it print its version. */
export function hasProgram(name: string, ...args: readonly string[]): boolean {
  return spawnSync(name, args, { stdio: "ignore" }).status === 0;
}
