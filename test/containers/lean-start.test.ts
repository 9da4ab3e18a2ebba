// Garbage of loading is gone, and nothing of the means shows in the program.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("garbage is gone, what is held is there, and no gc is left behind, not in contexts made later either", async () => {
  const program = join(import.meta.dirname, "lean-start-program.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [program]);
  expect(JSON.parse(stdout)).toEqual({ garbage: false, held: true, gc: ["undefined", "undefined"] });
});
