// Model servers in other languages, deployed as they stand in containers/README.md, and the templates.
import { execFileSync } from "node:child_process";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTemplate, type TemplateName } from "../../core/cli/init.ts";
import { deployContainer, ReplicaStartError, windjammer, type Windjammer } from "../../deployers/index.ts";
import { hasProgram } from "../helpers/programs.ts";
import { tempFolder } from "../helpers/temp.ts";

const ROOT = join(import.meta.dirname, "../..");
const page = await readFile(join(ROOT, "containers/README.md"), "utf8");

/** The page's server in a language. */
function code(language: string): string {
  const [, text] = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page) ?? [];
  return text ?? expect.unreachable(`the page has no server in ${language}`);
}

let wj: Windjammer;

beforeAll(async () => {
  wj = await windjammer({ port: 0, adminPort: 0 });
});

afterAll(() => wj.close());

/** Deploys and asks: one row, many rows, and over plain HTTP. */
async function expectSums(name: string, command: readonly string[], folder: string): Promise<void> {
  const examples = [{ input: [1, 2], output: 3 }];
  const app = await deployContainer(wj, { name, version: "1", command, folder, examples });
  expect(await app.predict([0.5, 0.25])).toBe(0.75);
  const rows = Array.from({ length: 200 }, (_, index) => [index, 1]);
  expect(await app.predictBatch(rows)).toEqual(rows.map(([index = 0]) => index + 1));
  const reply = await fetch(app.url, { method: "POST", body: '{"input":[40,2]}' });
  expect(await reply.json()).toMatchObject({ output: 42, default: false });
}

describe("the servers of containers/README.md", () => {
  it("in Python, which knows a port only, serves", async (context) => {
    if (!hasProgram("python3", "--version")) context.skip("this machine has no python3");
    const folder = await tempFolder();
    await writeFile(join(folder, "server.py"), code("python"));
    await expectSums("python-server", ["python3", "server.py"], folder);
  });

  it("in Go serves", async (context) => {
    if (!hasProgram("go", "version")) context.skip("this machine has no go (Debian: golang-go)");
    const folder = await tempFolder();
    await writeFile(join(folder, "server.go"), code("go"));
    const cache = { GOCACHE: join(ROOT, "node_modules/.cache/go"), GOFLAGS: "-mod=mod", GO111MODULE: "off" };
    execFileSync("go", ["build", "-o", "server", "server.go"], {
      cwd: folder,
      env: { ...process.env, ...cache },
    });
    await expectSums("go-server", ["./server"], folder);
  });

  it("on Express serves, with the packages of its package.json", async () => {
    const folder = await tempFolder();
    const { version } = JSON.parse(
      await readFile(join(ROOT, "node_modules/express/package.json"), "utf8"),
    ) as {
      readonly version: string;
    };
    await writeFile(join(folder, "server.mjs"), code("js"));
    await writeFile(join(folder, "package.json"), JSON.stringify({ dependencies: { express: version } }));
    await expectSums("express-server", ["node", "server.mjs"], folder);
  });
});

describe("a template", () => {
  it.for<[TemplateName, readonly string[]]>([
    ["node", ["node", "server.mjs"]],
    ["express", ["node", "server.mjs"]],
    ["python", ["python3", "server.py"]],
  ])("is deployed as it is: %s", async ([name, command], context) => {
    const [program = ""] = command;
    if (!hasProgram(program, "--version")) context.skip(`this machine has no ${program}`);
    const folder = join(await tempFolder(), name);
    await writeTemplate(name, folder);
    if (name === "express") await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
    await expectSums(`template-${name}`, command, folder);
  });
});

describe("a program", () => {
  it("that dies with queries in it is replaced, and they go to the next one", async () => {
    const folder = join(await tempFolder(), "dies");
    await writeTemplate("node", folder);
    await writeFile(
      join(folder, "model.mjs"),
      `import { existsSync, writeFileSync } from "node:fs";
      export const inputs = [{ name: "x", datatype: "FP32", shape: [2] }];
      export const outputs = [{ name: "sum", datatype: "FP32", shape: [] }];
      export const load = () => process.env.MARK;
      export const predict = (mark, { x }) => {
        if (x[0][0] === 13 && !existsSync(mark)) { writeFileSync(mark, ""); console.error("bad luck"); process.exit(7); }
        return { sum: x.map(([a, b]) => a + b) };
      };`,
    );
    const app = await deployContainer(wj, {
      name: "dies",
      version: "1",
      command: ["node", "server.mjs"],
      folder,
      environment: { MARK: join(folder, "mark") },
    });
    expect(await app.predict([13, 1])).toBe(14);
    const replica = (await wj.replicas()).find(({ model }) => model === "dies");
    expect(replica).toMatchObject({ restarts: 1, lastExit: { exitCode: 7 } });
    expect(replica?.lastExit?.message).toContain("bad luck");
  });

  it("over its memory limit is killed, and the reason is said", async () => {
    const folder = join(await tempFolder(), "hoards");
    await writeTemplate("node", folder);
    await writeFile(
      join(folder, "model.mjs"),
      `export const inputs = [{ name: "x", datatype: "FP32", shape: [2] }];
      export const outputs = [{ name: "sum", datatype: "FP32", shape: [] }];
      const kept = [];
      export const load = () => 1;
      export const predict = async (_, { x }) => {
        for (let round = 0; x[0][0] === 13 && round < 400; round++) {
          kept.push(Buffer.alloc(2 ** 22, 1));
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        return { sum: x.map(([a, b]) => a + b) };
      };`,
    );
    const app = await deployContainer(wj, {
      name: "hoards",
      version: "1",
      command: ["node", "server.mjs"],
      folder,
      memoryMb: 300,
      isRetryable: false,
    });
    expect(await app.predict([1, 2])).toBe(3);
    await expect(app.predict([13, 1])).rejects.toThrow("out of memory (limit 300 MiB)");
  });

  it("that is not there fails the deployment by its name", async () => {
    const failed = deployContainer(wj, { name: "nowhere", version: "1", command: ["no-such-program"] });
    await expect(failed).rejects.toThrow(ReplicaStartError);
    await expect(failed).rejects.toThrow("no program no-such-program");
  });
});
