// Ends a program when the frontend has gone, however that ended: not every program looks at its standard input.
import { spawn } from "node:child_process";
import type { RunningReplica } from "../runtime.ts";

/** Waits for the end of its input, which is that of the frontend; `$1` leads the group that ends then. */
const SCRIPT = 'read -r _; kill -s TERM -- "-$1"; sleep 2; kill -s KILL -- "-$1"';

/** Stands by until the program has exited. Without a shell the next frontend's start is what ends it. */
export function guardProgram({ pid, exited }: RunningReplica & { readonly pid: number }): void {
  const guard = spawn("/bin/sh", ["-c", SCRIPT, "windjammer", String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    // Ctrl-C in a terminal is not for it.
    detached: true,
    env: {},
  });
  guard.on("error", () => {});
  guard.stdin.on("error", () => {});
  void exited.then(() => guard.kill("SIGKILL"));
}
