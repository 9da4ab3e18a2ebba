// Run as a child process: commits pairs of records in a loop, and prints a number once its commit is done.
import { writeSync } from "node:fs";
import { SqliteStore } from "../../../core/registry/sqlite-store.ts";
import { anApplication, anEvent } from "./records.ts";

const store = new SqliteStore(process.argv[2] ?? "");
const { applications } = await store.open();
for (let count = Number(applications.get("left")?.defaultOutput ?? 0) + 1; ; count++) {
  await store.commit([
    { put: "applications", record: anApplication("left", { defaultOutput: count }) },
    {
      put: "applications",
      record: anApplication(`filler-${count % 7}`, { defaultOutput: "x".repeat(20_000) }),
    },
    { put: "applications", record: anApplication("right", { defaultOutput: count }) },
  ]);
  writeSync(1, `${count}\n`);
  await store.appendEvent("deployment", anEvent(count));
}
