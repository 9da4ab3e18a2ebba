// `windjammer export`: documents that validate, a client that tsc holds to the contracts and that predicts, a compose file.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { deployContainer, deployFunction, deployOnnxModel, windjammer, type Windjammer } from "windjammer";
import { parse } from "yaml";
import { z } from "zod";
import { cli, type CliResult } from "../../helpers/cli.ts";
import { foreignServer } from "../../helpers/foreign-servers.ts";
import { hasProgram } from "../../helpers/programs.ts";

const root = join(import.meta.dirname, "../../..");
const run = promisify(execFile);
let wj: Windjammer;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-export-"));
  wj = await windjammer({ port: 0, adminPort: 0, stateDir: join(folder, "state") });
  env = { WINDJAMMER_URL: wj.adminUrl };
  const version = "1";
  await deployOnnxModel(wj, { name: "digits", version, model: join(root, "examples/digits/digits.onnx") });
  await deployFunction(wj, {
    name: "sum-up",
    version,
    inputType: "doubles",
    fn: (rows) => rows.map((row) => row.reduce((a, b) => a + b, 0)),
    defaultOutput: "none",
  });
  await deployFunction(wj, {
    name: "size",
    version,
    inputType: "bytes",
    fn: (rows) => rows.map((row) => row.length),
  });
  const tree = z.object({
    label: z.enum(["a", "b"]),
    get children() {
      return z.array(tree);
    },
  });
  await deployFunction(wj, {
    name: "tree",
    version,
    single: true,
    input: tree,
    output: z.object({ count: z.int() }),
    fn: (node) => {
      if (node.label === "b") throw new Error("no b");
      return { count: node.children.length };
    },
  });
});
afterAll(async () => {
  await wj.close();
  await rm(folder, { recursive: true, force: true });
});

const exported = (...args: readonly string[]): Promise<CliResult> =>
  cli(["export", ...args], { env, cwd: folder });

/** What tsc says of a script beside the client; "" when nothing. */
async function check(name: string, source: string): Promise<string> {
  await writeFile(join(folder, name), source);
  const options = [
    "--noEmit",
    "--strict",
    "--exactOptionalPropertyTypes",
    "--module",
    "nodenext",
    "--target",
    "es2022",
  ];
  const libraries = [
    "--lib",
    "es2022,dom",
    "--types",
    "",
    "--allowImportingTsExtensions",
    "--erasableSyntaxOnly",
  ];
  try {
    const tsc = join(root, "node_modules/.bin/tsc");
    return (await run(tsc, [...options, ...libraries, name], { cwd: folder })).stdout;
  } catch (error) {
    return (error as { readonly stdout: string }).stdout;
  }
}

describe("export client", () => {
  test("is written into a file", async () => {
    await writeFile(join(folder, "package.json"), '{ "type": "module" }');
    expect(await exported("client", "-o", "client.ts")).toMatchObject({
      code: 0,
      stdout: "wrote client.ts\n",
    });
  });

  test("is the same each time, and imports nothing", async () => {
    const text = await readFile(join(folder, "client.ts"), "utf8");
    expect((await exported("client")).stdout).toBe(text);
    expect(text).not.toMatch(/^import|require\(/m);
  });

  test("lets right calls through tsc", async () => {
    const source = `import { client, createClient, type DigitsOutput, type TreeInput } from "./client.ts";
      const node: TreeInput = { label: "a", children: [{ label: "b", children: [] }] };
      const digits: DigitsOutput = await client.digits.predict(new Float32Array(64));
      const sum: number | string = await client["sum-up"].predict([1, 2]) as number | string;
      const sums: unknown[] = await client["sum-up"].predictBatch([[1], new Float64Array(2)], { timeoutMs: 100 });
      const size = await client.size.predict(new Uint8Array(3));
      const { count } = await createClient({ url: "http://localhost:1" }).tree.predict(node);
      export { digits, sum, sums, size, count };`;
    expect(await check("right.ts", source)).toBe("");
  });

  test.each([
    ["a text for an image", `await client.digits.predict("seven")`, "Argument of type 'string'"],
    [
      "texts for numbers",
      `await client["sum-up"].predict(["1"])`,
      "Type 'string' is not assignable to type 'number'",
    ],
    ["an application that there is not", `await client.digit.predict([])`, "Property 'digit' does not exist"],
    [
      "another label",
      `await client.tree.predict({ label: "c", children: [] })`,
      `Type '"c"' is not assignable`,
    ],
    ["a missing field", `await client.tree.predict({ label: "a" })`, "Property 'children' is missing"],
    [
      "a field of the output that there is not",
      `(await client.tree.predict({ label: "a", children: [] })).size`,
      "Property 'size' does not exist",
    ],
    [
      "an option that there is not",
      `await client.size.predict("", { timeout: 1 })`,
      "'timeout' does not exist",
    ],
  ])("tsc refuses %s", async (...[, call, message]) => {
    const source = `import { client } from "./client.ts";\nexport const result = ${call.replace(/^await (.*)$/, "await $1")};`;
    expect(await check("wrong.ts", source)).toContain(message);
  });

  test("predicts: single, batch, defaults, errors by their code, a failed input among good ones", async () => {
    await writeFile(
      join(folder, "use.ts"),
      `import { client, ClientError, createClient } from "./client.ts";
       const b = { label: "b", children: [] } as const;
       const a = { label: "a", children: [b] } as const;
       const codeOf = (work: Promise<unknown>) => work.then(() => "none", (e: unknown) => e instanceof ClientError ? [e.code, e.statusCode] : String(e));
       const stopped = AbortSignal.abort(new Error("stopped"));
       console.log(JSON.stringify({
         digit: await client.digits.predict(new Float32Array(64)),
         sum: await client["sum-up"].predict([1, 2, 3.5]),
         sums: await client["sum-up"].predictBatch([[1], new Float64Array([2, 3]), []]),
         one: await client["sum-up"].predictBatch([[5]]),
         none: await client["sum-up"].predictBatch([]),
         late: await client["sum-up"].predictDetailed([[1], [2]], { timeoutMs: 0.000001 }),
         size: [await client.size.predict(new Uint8Array(70_000)), await client.size.predict("AAAA")],
         tree: await client.tree.predict(a),
         mixed: (await client.tree.predictDetailed([a, b])).map((each) => "error" in each ? each.error.code : each.output),
         failed: await codeOf(client.tree.predictBatch([a, b])),
         all: await codeOf(client.tree.predictBatch([b, b])),
         wrong: await codeOf(client.tree.predict({ label: "c" } as never)),
         version: await codeOf(client.tree.predict(a, { version: "9" })),
         gone: await codeOf(createClient({ url: "http://127.0.0.1:1" }).tree.predict(a)),
         stopped: await codeOf(client.tree.predict(a, { signal: stopped })),
       }));`,
    );
    const { stdout } = await run(process.execPath, ["use.ts"], { cwd: folder });
    expect(JSON.parse(stdout)).toMatchObject({
      digit: { digit: 7 },
      sum: 6.5,
      sums: [1, 5, 0],
      one: [5],
      none: [],
      late: [{ output: "none", isDefault: true, reason: "deadline" }, { isDefault: true }],
      size: [70_000, 3],
      tree: { count: 1 },
      mixed: [{ count: 1 }, "MODEL_ERROR"],
      failed: ["MODEL_ERROR", expect.anything()],
      all: ["MODEL_ERROR", expect.anything()],
      wrong: ["INVALID_INPUT", 400],
      version: ["VERSION_NOT_FOUND", 404],
      gone: ["SERVER_UNREACHABLE", 0],
      stopped: "Error: stopped",
    });
  });

  test("of one application has that one only", async () => {
    const { stdout } = await exported("client", "digits");
    expect(stdout).toContain("DigitsInput");
    expect(stdout).not.toContain("TreeInput");
  });
});

describe("export openapi", () => {
  test.each([[[]], [["digits"]], [["--admin"]]])("gives a document that validates: %j", async (args) => {
    const { code, stdout } = await exported("openapi", ...args);
    expect(code).toBe(0);
    expect(await new Validator().validate(stdout)).toMatchObject({ valid: true });
  });

  test("writes it to a file, and tells that in JSON", async () => {
    const { stdout } = await exported("openapi", "-o", "openapi.json", "--json");
    expect(JSON.parse(stdout)).toEqual({ what: "openapi", file: "openapi.json" });
    expect(JSON.parse(await readFile(join(folder, "openapi.json"), "utf8"))).toHaveProperty("openapi");
  });
});

describe("export compose", () => {
  test("gives a file of the same server on the same state folder", async () => {
    const { code, stdout } = await exported("compose", "--state-dir", "state");
    expect(code).toBe(0);
    expect(parse(stdout)).toMatchObject({
      services: {
        windjammer: {
          image: "node:24-bookworm-slim",
          command: expect.arrayContaining(["npx", "start", "/state"]),
          ports: [`127.0.0.1:${new URL(wj.url).port}:1337`, `127.0.0.1:${new URL(wj.adminUrl).port}:1338`],
          volumes: [{ type: "bind", source: join(folder, "state"), target: "/state" }],
        },
      },
    });
  });

  test("names the variables that models at a URL need, and holds none of their values", async ({ skip }) => {
    const elsewhere = await foreignServer();
    vi.stubEnv("WINDJAMMER_SECRET_SPAM", "not-for-a-file");
    onTestFinished(() => void vi.unstubAllEnvs());
    const headersFrom = { authorization: "WINDJAMMER_SECRET_SPAM", "x-also": "WINDJAMMER_SECRET_SPAM" };
    await deployContainer(wj, {
      name: "spam",
      version: "1",
      url: elsewhere.url,
      modelName: "m",
      headersFrom,
    });
    onTestFinished(async () => {
      await wj.deleteApplication("spam");
      await wj.deleteModel("spam");
    });
    const { stdout } = await exported("compose", "--state-dir", "state");
    expect(stdout.match(/WINDJAMMER_SECRET_SPAM: .*/g)).toHaveLength(1);
    expect(stdout).not.toContain("not-for-a-file");
    skip(!hasProgram("docker-compose", "version"), "docker-compose is not installed");
    await writeFile(join(folder, "compose.yaml"), stdout);
    const composed = (variables: Readonly<Record<string, string>>): Promise<{ readonly stdout: string }> =>
      run("docker-compose", ["-f", "compose.yaml", "config"], {
        cwd: folder,
        env: { PATH: process.env["PATH"] ?? "", WINDJAMMER_TOKEN: "a-token-of-16-characters", ...variables },
      });
    await expect(composed({})).rejects.toThrow(/WINDJAMMER_SECRET_SPAM.*a header of a model/s);
    const { stdout: config } = await composed({ WINDJAMMER_SECRET_SPAM: "given" });
    expect(parse(config)).toMatchObject({
      services: { windjammer: { environment: { WINDJAMMER_SECRET_SPAM: "given" } } },
    });
  });

  test("refuses a folder that is no state folder", async () => {
    const { code, stderr } = await exported("compose", "--state-dir", ".");
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("is no state folder") });
  });
});

test.each<[readonly string[], number, string]>([
  [["clients"], 2, "Allowed choices are openapi, client, compose"],
  [["client", "digit"], 1, 'did you mean "digits"?'],
  [["client", "--admin"], 2, "--admin belongs to export openapi"],
  [["openapi", "--image", "x"], 2, "--image belongs to export compose"],
  [["client", "--base-image", "x"], 2, "--base-image belongs to export compose"],
  [["compose", "--base-image", "x"], 2, "the server's process runtime makes none"],
  [["compose", "--image", "no image"], 2, "expected the name of an image"],
  [["compose", "digits"], 2, "leave out"],
  [["openapi", "-o", "/nonexistent/x.json"], 2, "--output /nonexistent/x.json"],
])("a mistake: export %j", async (...[args, code, message]) => {
  expect(await exported(...args)).toMatchObject({
    code,
    stdout: "",
    stderr: expect.stringContaining(message),
  });
});
