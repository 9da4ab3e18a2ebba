// A newcomer's command line: the packed package in an empty folder, a server, and each example deployed from there, as its page
// says. The Python frameworks are in frameworks.test.ts, whose environment they share; Docker is in test/docker/newcomer.test.ts.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { portVariables } from "../helpers/free-ports.ts";
import { type Newcomer, newcomer, pageLines, SET_UP_MS, triedOut } from "../helpers/newcomer.ts";
import { hasProgram } from "../helpers/programs.ts";
import { hasTfjsNode, NATIVE, TFJS_NODE_FOLDER } from "../helpers/tfjs-node.ts";

const run = promisify(execFile);
const hasGo = hasProgram("go", "version");
const TFJS_NODE = "@tensorflow/tfjs-node";
let place: Newcomer;

beforeAll(async () => {
  place = await newcomer();
}, SET_UP_MS);
afterAll(() => place[Symbol.asyncDispose]());

/** Runs an example's script. */
async function script(name: string, ...args: readonly string[]): Promise<string> {
  const folder = await place.example(name);
  const options = { cwd: place.folder, env: place.env };
  return (await run("node", [`${folder}/main.ts`, ...args], options)).stdout;
}

/** Types what an example's page says, in its folder or another one's; what the commands printed. */
async function page(name: string, folder: string = name): Promise<readonly string[]> {
  const copy = await place.example(folder);
  // A project of its own, as its reader's is.
  await symlink(join(place.folder, "node_modules"), join(place.folder, copy, "node_modules")).catch(
    () => undefined,
  );
  await writeFile(join(place.folder, copy, "package.json"), '{ "private": true, "type": "module" }');
  const said: string[] = [];
  for (const line of await pageLines(name)) {
    if ("install" in line) {
      await place.install(line.install.filter((each) => !["windjammer", TFJS_NODE].includes(each)));
      if (line.install.includes(TFJS_NODE)) await place.install([TFJS_NODE], TFJS_NODE_FOLDER);
    } else said.push(await place.type(line.command, copy));
  }
  return said;
}

describe("windjammer deploy, from an empty folder with the published package only", () => {
  it("deploys a TypeScript module", async () => {
    const folder = await place.example("functions");
    const flags = ["--export", "sum", "--input-type", "doubles"];
    const said = await place.windjammer("deploy", `${folder}/sum.ts`, ...flags);
    expect(said).toContain("sum version 1 serves");
    expect(await triedOut(said)).toMatchObject({ output: 0 });
  });

  it("deploys an ONNX file, whose runtime the server installs", async () => {
    const folder = await place.example("digits");
    const said = await place.windjammer("deploy", `${folder}/digits.onnx`);
    expect(said).toContain("digits version 1 serves");
    expect(await triedOut(said)).toMatchObject({ output: { digit: 7 } });
  });

  it("deploys a model.json of TensorFlow.js as the next version, whose packages the server installs", async () => {
    const said = await place.windjammer(
      "deploy",
      `${await place.example("digits")}/tfjs`,
      "--name",
      "digits",
    );
    expect(said).toContain("digits version 2 serves");
    expect(await triedOut(said)).toHaveProperty("output");
  });

  it("goes back to the version before, asks one by its name, and runs it beside, as the page of rollout says", async () => {
    const [rolledBack = "", beside = "", asked = ""] = (await pageLines("rollout")).flatMap((line) =>
      "command" in line ? [line.command.replaceAll("mood", "digits")] : [],
    );
    expect(await place.type(rolledBack)).toContain("digits serves version 1");
    expect(await place.type(beside)).toContain("digits 2 runs 1 replica");
    const image = JSON.stringify(Array.from({ length: 64 }, () => 0));
    expect(JSON.parse(await place.type(asked.replace("lovely", `'${image}'`)))).toHaveLength(10);
  });

  it("deploys a Python folder, and its zip as the same version", async () => {
    const folder = await place.example("python/function");
    const said = await place.windjammer("deploy", folder, "--name", "python");
    expect(said).toContain("python version 1 serves");
    expect(await triedOut(said)).toHaveProperty("output");
    await place.type("python3 -m zipfile -c python.zip examples/python/function/");
    expect(await place.windjammer("deploy", "python.zip")).toContain("serves already, unchanged");
  });

  it("does what the page of digits says: scores, and a digit from the function behind the network", async () => {
    const said = await page("digits");
    expect(said.join("")).toMatch(/digits version 1 serves[^]*labels version 1 serves/);
    expect(await triedOut(said.at(-1) ?? "")).toMatchObject({ output: { digit: expect.any(Number) } });
  });

  it("does what the page of super-resolution says: functions around a network, and the package that they import", async () => {
    expect((await page("super-resolution")).join("")).toContain("super-resolution version 1 serves");
  });

  it("does what the page of read-text says: finds text in a photo with one network, reads it with another", async () => {
    const [detect = "", recognise = "", found = ""] = await page("read-text");
    expect(detect).toContain("detect version 1 serves");
    expect(recognise).toContain("recognise version 1 serves");
    const lines = JSON.parse(found) as readonly { readonly image: string }[];
    const read = await place.windjammer("predict", "recognise", "--input", JSON.stringify(lines[0]?.image));
    expect(JSON.parse(read)).toMatchObject({ text: expect.stringMatching(/\w/) });
  });

  it("does what the page of voice-activity says: a network out of an npm package, whose batch is on other axes", async () => {
    const [said = ""] = await page("voice-activity");
    expect(said).toContain("voice-activity version 1 serves");
    expect(await triedOut(said)).toHaveProperty("output");
  });

  it.skipIf(!hasTfjsNode)(
    `does what the page of tensorflow says: both forms side by side, ${NATIVE}`,
    async () => {
      const said = await page("tensorflow", "digits");
      expect(said.join("")).toMatch(/digits-wasm version 1 serves[^]*digits-native version 1 serves/);
      for (const each of said) expect(await triedOut(each)).toHaveProperty("output");
    },
  );

  it("does what the page of elsewhere says: a server that is asked by its URL", async () => {
    const copy = join(place.folder, await place.example("elsewhere"));
    const server = spawn(process.execPath, ["server.mjs"], {
      cwd: copy,
      env: { ...place.env, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void server.kill("SIGKILL"));
    const [address] = (await once(server.stdout.setEncoding("utf8"), "data")) as [string];
    const commands = (await pageLines("elsewhere"))
      .flatMap((line) => ("command" in line && !line.command.endsWith("&") ? [line.command] : []))
      .map((command) => command.replace("http://127.0.0.1:8000", address.trim()));
    const said: string[] = [];
    for (const command of commands) said.push(await place.type(command, "examples/elsewhere"));
    expect(said).toEqual([
      expect.stringContaining("is fit to be deployed"),
      expect.stringContaining("wind version 1 serves"),
      "6\n",
    ]);
  });

  it.each([
    ["closure", ["ml-matrix"], "here, all 24 are known now"],
    ["rollout", [], "version"],
    ["elsewhere", [], "of 20"],
  ])("runs %s, an example that is a script", async (name, packages, said) => {
    await place.install(packages);
    expect(await script(name)).toContain(said);
  });

  it.skipIf(!hasGo)(
    "does what the page of containers says: a server in Go, then one in Python (skipped without go)",
    async () => {
      const said = await page("containers");
      expect(said.join("")).toMatch(/distance version 1 serves[^]*distance version 2 serves/);
      expect(Number(said.at(-1))).toBeCloseTo(6692.7, 1);
    },
  );

  it.skipIf(!hasGo)("runs containers, which is a script, too (skipped without go)", async () => {
    expect(await script("containers")).toContain("fit");
  });

  it("runs clipper: the steps of Clipper's tutorial, with curl", async () => {
    await place.install(["zeromq"]);
    const folder = await place.example("clipper");
    const ports = await portVariables(["QUERY", "ADMIN", "RPC", "OWN_ADMIN"]);
    const { stdout } = await run("bash", [`${folder}/main.sh`], {
      cwd: place.folder,
      env: { ...place.env, ...ports },
    });
    expect(stdout).toMatch(
      /"output":6\.75,"default":false[^]*"output":67\.5,"default":false[^]*"output":6\.75/,
    );
    expect(stdout).toContain('["sum-model:1:1","sum-model:2:2"]');
  });
});

describe("of all that is deployed, in the same folder", () => {
  it("export client writes a client that tsc accepts in strict mode, and that predicts", async () => {
    expect(await place.windjammer("export", "client", "-o", "client.ts")).toContain("wrote client.ts");
    await writeFile(
      join(place.folder, "use.ts"),
      `import { client, type DigitsOutput } from "./client.ts";
       const total = (await client.sum.predict([1, 2, 3.5])) as number;
       const answer: DigitsOutput = await client.digits.predict(new Float32Array(64));
       const images: readonly DigitsOutput[] = await client.digits.predictBatch([new Float32Array(64)]);
       // @ts-expect-error a text is no image
       const wrong = client.digits.predict("seven").catch(() => "refused");
       console.log(total, answer.digit, images.length, await wrong);`,
    );
    const strict =
      "--noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --erasableSyntaxOnly";
    const language =
      "--module nodenext --target es2022 --lib es2022,dom --types '' --allowImportingTsExtensions";
    expect(await place.type(`tsc ${strict} ${language} client.ts use.ts`)).toBe("");
    expect(await place.type("node use.ts")).toBe("6.5 7 1 refused\n");
  });

  it.each([[[]], [["detect"]], [["--admin"]]])(
    "export openapi gives a document that validates: %j",
    async (args) => {
      const text = await place.windjammer("export", "openapi", ...args);
      expect(await new Validator().validate(text)).toMatchObject({ valid: true });
    },
  );

  it("apply takes a config file that imports the package by its name", async () => {
    await writeFile(
      join(place.folder, "windjammer.config.ts"),
      'import { defineConfig } from "windjammer";\nexport default defineConfig({ models: { total: { source: "examples/functions/sum.ts", export: "sum", inputType: "doubles" } } });\n',
    );
    expect(await place.windjammer("apply", "--yes")).toContain("applied: 2 to create");
    expect(await place.windjammer("apply", "--yes")).toContain("nothing to do");
  });
});
