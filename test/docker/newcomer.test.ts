// A newcomer with Docker: the packed package in an empty folder, a server on the Docker runtime, models that it builds there.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../../core/runtimes/engine.ts";
import { hasProgram } from "../helpers/programs.ts";
import { type Newcomer, newcomer, pageLines, SET_UP_MS, triedOut } from "../helpers/newcomer.ts";
import { defaultImages } from "./default-images.ts";
import { hasEngine } from "./engine.ts";

const hasGo = hasProgram("go", "version");

describe.skipIf(!hasEngine)("windjammer deploy --runtime docker, from an empty folder", () => {
  let place: Newcomer;
  let images: AsyncDisposable;

  beforeAll(async () => {
    images = await defaultImages();
    place = await newcomer(["--runtime", "docker"]);
  }, SET_UP_MS);

  afterAll(async () => {
    await place?.[Symbol.asyncDispose]();
    const engine = await Engine.connect(undefined);
    for (const model of ["newcomer-sum", "digits", "counted", "distance"])
      expect(await engine.containers({ "windjammer.model": model })).toEqual([]);
    await images?.[Symbol.asyncDispose]();
  });

  /** Deploys by the command line; what the curl line that it ends with got. */
  async function deployed(...args: readonly string[]): Promise<unknown> {
    const said = await place.windjammer("deploy", ...args);
    expect(said).toContain("version 1 serves");
    return triedOut(said);
  }

  it("builds a TypeScript module, by the Dockerfile and the server in the package", async () => {
    const flags = ["--export", "sum", "--input-type", "doubles", "--name", "newcomer-sum"];
    const module = `${await place.example("functions")}/sum.ts`;
    expect(await deployed(module, ...flags)).toMatchObject({ output: 0 });
  });

  it("builds an ONNX network, with its runtime", async () => {
    const network = `${await place.example("digits")}/digits.onnx`;
    expect(await deployed(network)).toMatchObject({ output: { digit: 7 } });
  });

  it("builds a Python folder, on the image of Python", async () => {
    const folder = await place.example("python/function");
    expect(await deployed(folder, "--name", "counted")).toHaveProperty("output");
  });

  it.skipIf(!hasGo)(
    "does what the page of containers says, without a command: a server in Go, and one in Python as the next version (skipped without go)",
    async () => {
      const folder = await place.example("containers");
      const said: string[] = [];
      for (const line of await pageLines("containers"))
        if ("command" in line)
          said.push(await place.type(line.command.replace(/ --command .*$/, ""), folder));
      expect(said.join("")).toMatch(/distance version 1 serves[^]*distance version 2 serves/);
      expect(Number(said.at(-1))).toBeCloseTo(6692.7, 1);
    },
  );
});
