import { execFile } from "node:child_process";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { tempFolder } from "../helpers/temp.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const fixture = join(root, "test/fixtures/ways");
const run = promisify(execFile);

/** A user's project with the two files of the fixture. */
async function userProject(type: "module" | "commonjs"): Promise<string> {
  const folder = await tempFolder();
  await mkdir(join(folder, "src"));
  await cp(fixture, join(folder, "src"), { recursive: true });
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "ways", type }));
  return folder;
}

async function tsc(folder: string, ...options: readonly string[]): Promise<string> {
  const compiler = join(
    dirname(createRequire(import.meta.url).resolve("typescript/package.json")),
    "bin/tsc",
  );
  const files = ["src/main.ts", "src/own.ts"];
  const common = [
    "--ignoreConfig",
    "--rewriteRelativeImportExtensions",
    "--skipLibCheck",
    "--noCheck",
    "--types",
    "",
  ];
  await run(process.execPath, [compiler, ...files, "--outDir", "out", ...common, ...options], {
    cwd: folder,
  });
  return "out/main.js";
}

async function bundle(folder: string, options: Parameters<typeof build>[0]): Promise<string> {
  const outfile = `out/bundle.${options.format === "cjs" ? "cjs" : "mjs"}`;
  await build({
    absWorkingDir: folder,
    entryPoints: ["src/main.ts"],
    bundle: true,
    platform: "node",
    packages: "external",
    outfile,
    ...options,
  });
  return outfile;
}

interface Way {
  readonly type: "module" | "commonjs";
  readonly make: (folder: string) => Promise<string>;
  readonly node?: readonly string[];
}

const original = async (): Promise<string> => "src/main.ts";
const ways: Readonly<Record<string, Way>> = {
  "type stripping": { type: "module", make: original },
  "tsx, as an ES module": { type: "module", make: original, node: ["--import", "tsx"] },
  "tsx, as CommonJS": { type: "commonjs", make: original, node: ["--import", "tsx"] },
  "tsc to CommonJS, as ts-node does": {
    type: "commonjs",
    make: (folder) => tsc(folder, "--module", "commonjs", "--target", "es2022", "--inlineSourceMap"),
  },
  "tsc to ES2021, with lowered private fields": {
    type: "module",
    make: (folder) => tsc(folder, "--module", "nodenext", "--target", "es2021", "--sourceMap"),
  },
  "an esbuild bundle": {
    type: "module",
    make: (folder) => bundle(folder, { format: "esm", sourcemap: true }),
  },
  "a minified CommonJS bundle of esbuild": {
    type: "commonjs",
    make: (folder) => bundle(folder, { format: "cjs", sourcemap: "inline", minify: true, target: "es2021" }),
  },
};

describe("a live function gives the same, and stacks of the user's file", () => {
  it.each(Object.entries(ways))("run by %s", async (_, { type, make, node = [] }) => {
    const folder = await userProject(type);
    const file = await make(folder);
    const env = { ...process.env, WAYS_ROOT: join(root, "dist/deployers/index.js") };
    const { stdout } = await run(process.execPath, [...node, file], { cwd: folder, env });
    const [, text = "null"] = /^RESULT(.*)END$/m.exec(stdout) ?? [];
    const result = JSON.parse(text) as { outputs: unknown; here: unknown; failed: { log: string[] } };
    expect(result.outputs).toEqual(result.here);
    const lines = (await readFile(join(fixture, "own.ts"), "utf8")).split("\n");
    const line = lines.findIndex((each) => each.includes("the line of the throw")) + 1;
    expect(result.failed.log.join("\n")).toMatch(
      new RegExp(`RangeError: 101 is above 100[^]*own\\.ts:${line}:`),
    );
  });
});
