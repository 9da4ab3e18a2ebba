import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import zodPackage from "zod/package.json" with { type: "json" };
import { testDeployer } from "../../test/conformance/deployer.ts";
import { functionCase } from "../../test/helpers/deployer-cases.ts";
import { installed, project } from "../../test/helpers/project.ts";
import { tempFolder } from "../../test/helpers/temp.ts";
import { functionDeployer, inspect, type FunctionOptions } from "./index.ts";

testDeployer(functionCase);

async function manifestOf(options: Partial<FunctionOptions>): ReturnType<typeof functionDeployer.bundle> {
  const folder = await project({
    "model.ts":
      'import { version } from "plain"; export const predict = () => [version]; export { predict as classify };',
    ...installed("plain", "1.2.3"),
  });
  const all = { inputType: "json", module: join(folder, "model.ts"), ...options } as const;
  return functionDeployer.bundle(all, await tempFolder(), () => {});
}

describe("the manifest of a function", () => {
  it.each([
    ["ints", "integers", "INT32"],
    ["i", "integers", "INT32"],
    ["float", "floats", "FP32"],
    ["d", "doubles", "FP64"],
    ["doubles", "doubles", "FP64"],
    ["byte", "bytes", "BYTES"],
    ["strs", "strings", "BYTES"],
    ["json", "json", "BYTES"],
  ] as const)("has %s as %s, %s", async (short, long, datatype) => {
    const manifest = await manifestOf({ inputType: short });
    expect(manifest.inputType).toBe(long);
    expect(manifest.contract.inputs[0]?.datatype).toBe(datatype);
    expect(manifest.contract.outputs[0]?.contentType).toBe("json");
  });

  it("has the export, the packages and what the options say of the container", async () => {
    const manifest = await manifestOf({
      export: "classify",
      packages: { other: "2.0.0" },
      allowScripts: { other: true },
      environment: { LEVEL: "3" },
    });
    expect(manifest).toMatchObject({
      loader: "function",
      model: { file: "function.mjs", export: "classify" },
      packages: { other: "2.0.0", plain: "1.2.3" },
      allowScripts: { other: true },
      environment: { LEVEL: "3" },
    });
  });
});

async function live(
  options: Partial<FunctionOptions>,
  messages: string[] = [],
): ReturnType<typeof functionDeployer.bundle> {
  const report = (text: string): unknown => messages.push(text);
  return functionDeployer.bundle({ inputType: "json", ...options }, await tempFolder(), report);
}

describe("a live function", () => {
  it("becomes code, state and data, and its schemas go into the manifest", async () => {
    const scale = 2;
    const { fn } = { fn: (xs: { a: number }[]) => xs.map(({ a }) => a * scale) };
    const input = z.object({ a: z.number() });
    const manifest = await live({ inputType: undefined, fn, input, output: z.number() });
    expect(manifest).toMatchObject({
      inputType: "json",
      model: { codeFile: "functions.cjs", stateFile: "state.json", isSingle: false },
      schemas: { input: { type: "object", required: ["a"] }, output: { type: "number" } },
    });
    const draft = "https://json-schema.org/draft/2020-12/schema";
    expect(manifest.schemas).toMatchObject({ input: { $schema: draft }, output: { $schema: draft } });
  });

  it("is refused with the path of what it holds", async () => {
    const cache = { inner: new WeakRef({}) };
    const fn = (): unknown => cache.inner;
    await expect(live({ fn })).rejects.toThrow(/fn → cache\.inner is a WeakRef/);
  });

  it("is deployed with a warning for what looks like a secret, which does not show it", async () => {
    const apiToken = "abcdefghijklmnop";
    const messages: string[] = [];
    await live({ fn: () => [apiToken] }, messages);
    expect(messages.join("\n")).toContain("fn → apiToken looks like a secret");
    expect(messages.join("\n")).not.toContain(apiToken);
  });

  it("is shown with what it holds, sizes and packages, and writes nothing", () => {
    const weights = new Float64Array(1000);
    const table = { deep: [new Map([["k", "v".repeat(300)]])] };
    const helper = (x: number): number => x + table.deep.length + Number(weights[0]);
    const report = inspect((xs: number[]) => xs.map((x) => z.number().parse(helper(x))));
    const paths = report.captured.map(({ path }) => path);
    expect(paths.slice(0, 2)).toEqual(["fn → helper → weights", "fn → helper → table"]);
    expect(paths).toEqual(expect.arrayContaining(["fn", "fn → helper"]));
    expect(report.captured[0]).toMatchObject({ kind: "Float64Array" });
    expect(report.captured[0]?.bytes).toBeGreaterThan(8000);
    expect(report.files["state.bin"]).toBe(8000);
    expect(report.packages).toEqual({ zod: zodPackage.version });
    expect(String(report)).toMatch(
      /^fn takes \d+\.\d kB, packages: zod \d.*\n {2}fn → helper → weights +Float64Array +8\.1 kB/,
    );
  });

  it("takes no more of Node's pool of Buffers along than a view of it shows", () => {
    const pooled = Buffer.allocUnsafe(64);
    const at = Math.ceil(pooled.byteOffset / 8) * 8;
    const doubles = new Float64Array(pooled.buffer, at, 3);
    const text = Buffer.from("next to it, but captured by nobody");
    expect(text.buffer).toBe(pooled.buffer);
    expect(inspect(() => doubles[0]).files["state.bin"]).toBe(24);
  });

  it("names direct eval as one problem", async () => {
    const secret = 1;
    // oxlint-disable-next-line no-eval -- what is refused
    const evil = (): unknown => [eval("secret"), secret];
    const error: unknown = await live({ fn: evil }).catch((thrown: unknown) => thrown);
    expect((error as { details: { problems: readonly object[] } }).details.problems).toHaveLength(1);
  });

  it.each([
    ["a refinement", z.string().refine((text) => text !== "")],
    ["a transform", z.string().transform(Number)],
    ["a default", z.object({ a: z.number().default(1) })],
  ])("is refused with a schema that has %s, since the endpoint could not run it", async (what, input) => {
    await expect(live({ fn: () => [], input })).rejects.toThrow(what);
  });

  it.each([
    [{ fn: () => [], module: "a.ts" }, "module"],
    [{ module: "a.ts", single: true }, "single"],
    [{}, "module"],
    [{ fn: () => [], inputType: undefined }, "inputType"],
  ])("is refused with options that do not fit together: %o", (options, field) => {
    const parsed = functionDeployer.options.safeParse({ inputType: "json", ...options });
    expect(parsed.error?.issues[0]?.path).toEqual([field]);
  });
});
