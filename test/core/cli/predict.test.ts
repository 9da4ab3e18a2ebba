// `windjammer predict`: inputs from the command line, files, images and standard input, and what comes back.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { deployFunction, deployOnnxModel } from "windjammer";
import { cli, cliJson } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";
import { tempFolder } from "../../helpers/temp.ts";

const DIGITS = join(import.meta.dirname, "../../../examples/digits");
const server = commandServer(async (wj) => {
  await deployFunction(wj, {
    name: "sum",
    version: "1",
    inputType: "doubles",
    defaultOutput: -1,
    fn: (inputs) => inputs.map((xs) => (xs.includes(13) ? fail(xs) : xs.reduce((sum, x) => sum + x, 0))),
  });
  await deployFunction(wj, {
    name: "shout",
    version: "1",
    inputType: "strings",
    fn: (texts) => texts.map((text) => text.toUpperCase()),
  });
  await deployFunction(wj, {
    name: "size",
    version: "1",
    inputType: "bytes",
    fn: (files) => files.map((file) => file.length),
  });
  await deployFunction(wj, { name: "same", version: "1", inputType: "json", fn: (values) => values });
});

function fail(xs: readonly number[]): never {
  throw new Error(`unlucky ${xs.join()}`);
}

describe("windjammer predict", () => {
  test("takes the input from the command line, a file or standard input", async () => {
    const file = join(await tempFolder(), "input.json");
    await writeFile(file, "[1, 2.5]\n");
    expect(await cli(["predict", "sum", "--input", "[1, 2.5]"], server)).toEqual({
      code: 0,
      stdout: "3.5\n",
      stderr: "",
    });
    expect((await cli(["predict", "sum", "--file", file], server)).stdout).toBe("3.5\n");
    expect((await cli(["predict", "sum", "-"], { env: server.env, input: "[1, 2.5]" })).stdout).toBe("3.5\n");
  });

  test("takes text and bytes as they are where the model does", async () => {
    const file = join(await tempFolder(), "input.txt");
    await writeFile(file, "not json\n");
    expect((await cli(["predict", "shout", "--input", "quiet"], server)).stdout).toBe('"QUIET"\n');
    expect((await cli(["predict", "shout", "--file", file], server)).stdout).toBe('"NOT JSON"\n');
    expect((await cli(["predict", "shout", "-"], { env: server.env, input: "piped\n" })).stdout).toBe(
      '"PIPED"\n',
    );
    expect((await cli(["predict", "size", "--file", file], server)).stdout).toBe("9\n");
  });

  test("answers a list a line, and one that fails alone", async () => {
    const all = await cli(["predict", "sum", "--batch", "--input", "[[1], [2, 3]]"], server);
    expect(all).toMatchObject({ code: 0, stdout: "1\n5\n" });
    const some = await cli(["predict", "sum", "--batch", "--input", '[[1], "x"]'], server);
    expect(some.stdout).toMatch(/^1\nINVALID_INPUT: .*\n$/);
  });

  test("says when it is the default output, and why", async () => {
    const { code, stdout, stderr } = await cli(["predict", "sum", "--input", "[13]"], server);
    expect([code, stdout]).toEqual([0, "-1\n"]);
    expect(stderr).toContain("the default output: ");
    expect(stderr).toContain("unlucky 13");
  });

  test("prints the reply of the query API with --json, its numbers as they came", async () => {
    expect(await cliJson(["predict", "sum", "--input", "[13]"], server)).toMatchObject({
      query_id: expect.any(Number),
      output: -1,
      default: true,
    });
    const exact = await cli(["predict", "sum", "--input", "[1.5, 0.5]", "--version", "1", "--json"], server);
    expect(exact.stdout).toMatch(/"output": 2\b/);
    const value = '{"big":12345678901234567890,"float":1.0}';
    const { stdout } = await cli(["predict", "same", "--input", value], server);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(value));
  });

  test.each([
    [["sum"], 2, "sum takes doubles, such as windjammer predict sum --input '[0]'"],
    [["sum", "--input", "[1]", "-"], 2, "give one of --input, --file, --image and -"],
    [
      ["sum", "input.json"],
      2,
      "input.json has no flag: an input is given as --input 'input.json', a file as",
    ],
    [["sum", "[1, 2]"], 2, "[1, 2] has no flag: an input is given as --input '[1, 2]'"],
    [["sum", JSON.stringify(Array(30).fill(0))], 2, "0… has no flag"],
    [["sum", "--input", "[1, 2"], 1, "INVALID_INPUT: --input is not JSON"],
    [["sum", "--input", '"text"'], 1, "INVALID_INPUT"],
    [
      ["sum", "--file", "nowhere.json"],
      1,
      "MODEL_FILE_NOT_FOUND: nowhere.json cannot be read: there is no such file",
    ],
    [["summ", "--input", "[1]"], 1, 'no application named "summ"; did you mean "sum"?'],
    [["sum", "--input", "[1]", "--version", "9"], 1, 'has no version "9"'],
    [["sum", "--image", "nowhere.png", "--pixels", "bright"], 2, "--pixels: expected two numbers"],
  ])("says what is wrong: %j", async (args, code, message) => {
    const result = await cli(["predict", ...args], server);
    expect(result.code).toBe(code);
    expect(result.stderr).toContain(message);
    expect(result.stdout).toBe("");
  });

  test("says that an application has no model, and what to do", async () => {
    await deployFunction(server.wj, {
      name: "gone",
      version: "1",
      inputType: "doubles",
      fn: (inputs) => inputs,
    });
    await server.wj.unlink("gone", "gone");
    const { code, stderr } = await cli(["predict", "gone", "--input", "[1]"], server);
    expect([code, stderr]).toEqual([1, expect.stringContaining("windjammer link gone MODEL")]);
  });
});

describe("windjammer predict --image", () => {
  test("resizes a PNG of any kind to what the network takes", async () => {
    const { images } = JSON.parse(await readFile(join(DIGITS, "digits-cases.json"), "utf8")) as {
      images: readonly unknown[];
    };
    const first = [images[0]].flat(5) as number[];
    await deployOnnxModel(server.wj, { name: "digits", version: "1", model: join(DIGITS, "digits.onnx") });
    const expected = await cliJson<{ output: { digit: number } }>(
      ["predict", "digits", "--input", JSON.stringify(first)],
      server,
    );
    const folder = await tempFolder();
    const low = Math.min(...first);
    const high = Math.max(...first);
    const gray = first.map((value) => Math.round(((value - low) / (high - low)) * 255));
    const side = Math.sqrt(gray.length);
    const image = sharp(Buffer.from(gray), { raw: { width: side, height: side, channels: 1 } });
    for (const [name, form] of [
      ["gray", image.clone()],
      ["colour", image.clone().toColourspace("srgb")],
      ["alpha", image.clone().toColourspace("srgb").ensureAlpha()],
      ["large", image.clone().resize(side * 3, side * 3, { kernel: "nearest" })],
    ] as const) {
      const file = join(folder, `${name}.png`);
      await form.png().toFile(file);
      const pixels = ["--pixels", `${low}..${high}`];
      const reply = await cliJson<{ output: { digit: number } }>(
        ["predict", "digits", "--image", file, ...pixels],
        server,
      );
      expect([name, reply.output.digit]).toEqual([name, expected.output.digit]);
    }
    const whole = await cli(["predict", "size", "--image", join(folder, "gray.png")], server);
    expect(whole.stdout).toBe(`${(await readFile(join(folder, "gray.png"))).length}\n`);
  });

  test("says what it cannot read", async () => {
    const file = join(await tempFolder(), "photo.jpg");
    await writeFile(file, Buffer.from("ffd8ffe000104a464946", "hex"));
    await deployOnnxModel(server.wj, { name: "numbers", version: "1", model: join(DIGITS, "digits.onnx") });
    const jpeg = await cli(["predict", "numbers", "--image", file], server);
    expect([jpeg.code, jpeg.stderr]).toEqual([1, expect.stringContaining("it is no PNG; convert it")]);
    const shape = await cli(["predict", "sum", "--image", file], server);
    expect(shape.code).toBe(1);
  });
});
