// Run as a child process: opens the store of the folder in argv, says how it went, and holds it until it is killed.
import { writeSync } from "node:fs";
import { WindjammerError } from "../../../core/errors.ts";
import { SqliteStore } from "../../../core/registry/sqlite-store.ts";

const store = new SqliteStore(process.argv[2] ?? "");
try {
  await store.open();
  writeSync(1, "open\n");
  process.stdin.resume();
  process.stdin.once("end", () => void store.close());
} catch (error) {
  writeSync(1, `${error instanceof WindjammerError ? error.code : String(error)}\n`);
  process.exitCode = 1;
}
