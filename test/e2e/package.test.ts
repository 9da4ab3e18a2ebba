// The package as a stranger gets it: packed, installed into an empty project, used from there.
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
/** A deployer of somebody else's: nearest neighbours in a CSV file. */
const outsider = join(root, "test/fixtures/windjammer-deployer-csv");
const env = {
  ...process.env,
  PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`,
};
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "wj-package-"));
  await writeFile(join(project, "package.json"), '{ "name": "stranger", "private": true, "type": "module" }');
  await run("npm", ["pack", "--silent", "--pack-destination", project], { cwd: root, env });
  await run("npm", ["pack", "--silent", "--pack-destination", project], { cwd: outsider, env });
  const tarballs = (await readdir(project)).filter((name) => name.endsWith(".tgz"));
  const install = ["install", "--no-audit", "--no-fund", ...tarballs.map((name) => `./${name}`)];
  await run("npm", install, { cwd: project, env });
  await cp(join(root, "examples/digits"), join(project, "digits"), { recursive: true });
});

afterAll(() => rm(project, { recursive: true, force: true }));

async function runScript(name: string, source: string): Promise<string> {
  await writeFile(join(project, name), source);
  return (await run("node", [name], { cwd: project, env })).stdout;
}

describe("the installed package", () => {
  it("gives the API by its root and by its subpaths, as the same values", async () => {
    const out = await runScript(
      "subpaths.ts",
      `import * as root from "windjammer";
       import * as onnx from "windjammer/deployers/onnx";
       import * as fn from "windjammer/deployers/function";
       import { processRuntime } from "windjammer/runtimes/process";
       console.log(root.deployOnnxModel === onnx.deployOnnxModel, root.deployFunction === fn.deployFunction, processRuntime().name);`,
    );
    expect(out).toBe("true true process\n");
  });

  it("deploys a TypeScript function, predicts, and leaves nothing running", async () => {
    await writeFile(
      join(project, "sum.ts"),
      "export function sum(inputs: readonly number[][]): number[] {\n  return inputs.map((xs) => xs.reduce((a, b) => a + b, 0));\n}\n",
    );
    const out = await runScript(
      "deploy.ts",
      `import { deployFunction, windjammer } from "windjammer";
       await using wj = await windjammer({ port: 0, adminPort: 0 });
       const sum = await deployFunction(wj, { name: "sum", version: "1", inputType: "doubles", module: "./sum.ts", export: "sum", packages: {} });
       console.log(await sum.predict([1, 2, 3.5]), await sum.predictBatch([[1], [2, 3]]));`,
    );
    expect(out).toBe("6.5 [ 1, 5 ]\n");
  });

  it("serves its OpenAPI documents, and their page once its package is there", async () => {
    const ask = `import { startServer } from "windjammer";
      await using server = await startServer({ port: 0, adminPort: 0 });
      const shown = [];
      for (const url of [server.queryUrl + "/openapi.json", server.adminUrl + "/openapi.json"]) {
        const { openapi, info, paths } = await (await fetch(url)).json();
        shown.push(openapi, info.title, Object.keys(paths).length > 20);
      }
      for (const path of ["/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"]) {
        const reply = await fetch(server.queryUrl + path);
        shown.push(reply.status, (await reply.text()).length > 200);
      }
      console.log(JSON.stringify(shown));`;
    const documents = ["3.1.0", "Windjammer query API", true, "3.1.0", "Windjammer management API", true];
    const without = JSON.parse(await runScript("docs.ts", ask)) as unknown[];
    expect(without.slice(0, 7)).toEqual([...documents, 501]);
    await run("npm", ["install", "--no-audit", "--no-fund", "swagger-ui-dist@5"], { cwd: project, env });
    expect(JSON.parse(await runScript("docs.ts", ask))).toEqual([
      ...documents,
      200,
      true,
      200,
      true,
      200,
      true,
    ]);
  });

  it("has a bin", async () => {
    const npx = await run("npx", ["--no-install", "windjammer", "--version"], { cwd: project, env });
    expect(npx.stdout).toMatch(/^\d+\.\d+\.\d+/);
    const bin = join(project, "node_modules/.bin/windjammer");
    expect((await run(bin, ["--version"], { env })).stdout).toMatch(/^\d+\.\d+\.\d+/);
    expect((await run(bin, ["--help"], { env })).stdout).toContain("start");
  });

  it("has types that a strict compiler accepts and that hold the user to the input type", async () => {
    await mkdir(join(project, "node_modules/@types"), { recursive: true });
    const types = join(project, "node_modules/@types/node");
    // A package that ours needs may have brought another version.
    await rm(types, { recursive: true, force: true });
    await symlink(join(root, "node_modules/@types/node"), types);
    await writeFile(
      join(project, "typed.ts"),
      `import { deployFunction, deployOnnxModel, type Windjammer } from "windjammer";
       export async function use(wj: Windjammer): Promise<void> {
         const sum = await deployFunction<"doubles", number>(wj, { name: "sum", version: "1", inputType: "doubles", module: "./sum.ts" });
         const total: number = await sum.predict([1, 2]);
         // @ts-expect-error a text is no vector of doubles
         await sum.predict("1, 2");
         // @ts-expect-error the version is missing
         await deployOnnxModel(wj, { name: "digits", model: "digits.onnx" });
         console.log(total);
       }`,
    );
    const options = [
      "--noEmit",
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "es2024",
      "--types",
      "node",
      "--skipLibCheck",
      "false",
      "typed.ts",
    ];
    await expect(
      run(join(root, "node_modules/.bin/tsc"), options, { cwd: project, env }),
    ).resolves.toMatchObject({ stdout: "" });
  });

  it("lets an outsider's deployer, installed beside it, pass the conformance suite under his own test runner", async () => {
    await cp(join(outsider, "index.test.js"), join(project, "csv.test.js"));
    const { stdout } = await run("node", ["--test", "--test-reporter=tap", "csv.test.js"], {
      cwd: project,
      env,
    });
    const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
    expect(passed).toBe(15);
    expect(stdout).toMatch(/^# fail 0$/m);
  });

  it("does what deployers/README.md says: a deployer, its use, and its test", async () => {
    const page = await readFile(join(root, "deployers/README.md"), "utf8");
    const [deployer = "", use = "", test = ""] = [...page.matchAll(/^```ts\n(.*?)^```/gms)].map(
      ([, code = ""]) => code,
    );
    await writeFile(join(project, "table.ts"), deployer);
    const printed = [...use.matchAll(/\/\/ prints (.*)$/gm)].map(([, text]) => `${text}\n`).join("");
    const elsewhere = use.replace("windjammer()", "windjammer({ port: 0, adminPort: 0 })");
    expect(await runScript("use-table.ts", elsewhere)).toBe(printed);
    await writeFile(join(project, "table.test.ts"), test);
    const { stdout } = await run("node", ["--test", "--test-reporter=tap", "table.test.ts"], {
      cwd: project,
      env,
    });
    expect(stdout).toMatch(/^# pass 14$/m);
    expect(stdout).toMatch(/^# fail 0$/m);
  });

  it("has no other way in for that deployer than what it exports", async () => {
    const source = await readFile(join(outsider, "index.js"), "utf8");
    const from = [...source.matchAll(/from "([^"]+)"/g)].map(([, name = ""]) => name);
    expect(from.filter((name) => !name.startsWith("node:"))).toEqual(["windjammer", "zod"]);
    const inner = runScript("inner.ts", 'import "windjammer/dist/core/deploy/bundle.js";');
    await expect(inner).rejects.toThrow("ERR_PACKAGE_PATH_NOT_EXPORTED");
  });

  it("passes publint", async () => {
    const { stdout } = await run(
      join(root, "node_modules/.bin/publint"),
      ["--strict", join(project, "node_modules/windjammer")],
      { env },
    );
    expect(stdout).toContain("All good!");
  });
});
