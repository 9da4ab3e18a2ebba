// Packages of a user's project that no registry has: a workspace's are his own files, those of a file are refused, and two versions.
import { execFile } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { tempFolder } from "../helpers/temp.ts";

const run = promisify(execFile);
const packageRoot = fileURLToPath(new URL("../../dist/deployers/index.js", import.meta.url));
const json = JSON.stringify;
const FILES: Readonly<Record<string, string>> = {
  "package.json": json({ name: "user", type: "module", dependencies: { packed: "file:../packed.tgz" } }),
  "packages/shared/package.json": json({
    name: "shared",
    version: "1.0.0",
    type: "module",
    exports: "./i.js",
  }),
  "packages/shared/i.js": "export let n = 1; export const up = () => ++n; export const twice = (x) => x * 2;",
  "node_modules/packed/package.json": json({
    name: "packed",
    version: "1.0.0",
    type: "module",
    exports: "./i.js",
  }),
  "node_modules/packed/i.js": "export const thrice = (x) => x * 3;",
  "node_modules/twice/package.json": json({
    name: "twice",
    version: "1.0.0",
    type: "module",
    exports: "./i.js",
  }),
  "node_modules/twice/i.js": "export const first = (x) => `one ${x}`;",
  "old/node_modules/twice/package.json": json({
    name: "twice",
    version: "0.9.0",
    type: "module",
    exports: "./i.js",
  }),
  "old/node_modules/twice/i.js": "export const first = (x) => `old ${x}`;",
  "old/use.js": 'export { first as old } from "twice";',
  "main.js": `
    import { first } from "twice";
    import { old } from "./old/use.js";
    import { n, twice, up } from "shared";
    import { thrice } from "packed";
    const { dryRun, inspect } = await import(process.env.PACKAGE_ROOT);
    const { outputs } = await dryRun({ inputType: "json", single: true, fn: (x) => [twice(x), up(), n] }, [4]);
    let refusal = "";
    try { inspect((x) => thrice(x)); } catch (error) { refusal = error.message; }
    let conflict = "";
    try { inspect((x) => [first(x), old(x)]); } catch (error) { conflict = error.message; }
    console.log("RESULT" + JSON.stringify({ outputs, refusal, conflict }));`,
};

it("takes a workspace's package along like a user's file, and refuses one that only a file here holds, or that is there in two versions", async () => {
  const folder = await tempFolder();
  for (const [name, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  await symlink("../packages/shared", join(folder, "node_modules/shared"));
  const env = { ...process.env, PACKAGE_ROOT: packageRoot };
  const { stdout } = await run(process.execPath, ["main.js"], { cwd: folder, env });
  const [, result = "null"] = /^RESULT(.*)$/m.exec(stdout) ?? [];
  expect(JSON.parse(result)).toEqual({
    outputs: [[8, 2, 2]],
    refusal: expect.stringContaining(
      "package packed comes from file:../packed.tgz, which is only here",
    ) as string,
    conflict: expect.stringMatching(
      /package twice is imported in two versions, .*0\.9\.0.*and a model container has one/,
    ) as string,
  });
});
