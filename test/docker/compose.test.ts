// `windjammer export compose`, given to docker-compose: the server comes up in a container, with all that the other one served,
// and goes again without a trace.
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { writeTemplate } from "../../core/cli/init.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { type Newcomer, newcomer, SET_UP_MS } from "../helpers/newcomer.ts";
import { hasProgram } from "../helpers/programs.ts";
import { defaultBaseImage } from "./default-images.ts";
import { BASE_IMAGE, hasEngine } from "./engine.ts";

const run = promisify(execFile);
const hasCompose = hasProgram("docker-compose", "version");
const TOKEN = "a-token-for-the-compose-file";
const IMAGE = `wj-compose-test:${process.pid}`;
const WHILE_IT_STARTS = { interval: 500 };
const SUM = ["examples/functions/sum.ts", "--export", "sum", "--input-type", "doubles"];

// Each sets up a server of its own.
vi.setConfig({ testTimeout: SET_UP_MS });

describe.skipIf(!hasEngine || !hasCompose)(
  "windjammer export compose (skipped without docker-compose)",
  () => {
    let base: AsyncDisposable;
    let plain: Newcomer;

    beforeAll(async () => {
      base = await defaultBaseImage();
      plain = await newcomer();
      await imageWithWindjammer(plain.folder);
    }, SET_UP_MS);

    afterAll(async () => {
      await plain[Symbol.asyncDispose]();
      await run("docker", ["rmi", "-f", IMAGE]);
      await base[Symbol.asyncDispose]();
    });

    it("brings up a server of the process runtime, whose models run in its container", async () => {
      await plain.example("functions");
      await plain.windjammer("deploy", ...SUM);
      const url = await exported(plain);
      await plain.windjammer("stop");
      await using _ = await up(plain);
      await expect.poll(() => asked(`${url}/sum/predict`), WHILE_IT_STARTS).toBe(6.5);
    });

    it("brings up a server of the Docker runtime, whose models run beside it in the images that there are", async () => {
      await using place = await newcomer(["--runtime", "docker"]);
      await place.example("functions");
      await place.windjammer("deploy", ...SUM, "--name", "composed");
      await adderFolder(join(place.folder, "composed-adder"));
      await place.windjammer("deploy", "composed-adder");
      await wantsTheBaseImage(place);
      const engine = await Engine.connect(undefined);
      const before = await imagesOf(engine);

      const url = await exported(place);
      await place.windjammer("stop");
      {
        await using _ = await up(place);
        await expect.poll(() => asked(`${url}/composed/predict`), WHILE_IT_STARTS).toBe(6.5);
        await expect.poll(() => asked(`${url}/composed-adder/predict`, [1, 2]), WHILE_IT_STARTS).toBe(3);
        expect(await place.windjammer("models")).toMatch(
          /composed +1 .* 1\/1 [^]*composed-adder +1 .* 1\/1 /,
        );
        for (const model of ["composed", "composed-adder"])
          expect(await engine.containers({ "windjammer.model": model })).toHaveLength(1);
      }
      for (const model of ["composed", "composed-adder"])
        expect(await engine.containers({ "windjammer.model": model })).toEqual([]);
      expect(await imagesOf(engine)).toEqual(before);
    });
  },
);

/** Else the server would build all models anew when it starts. */
async function wantsTheBaseImage(place: Newcomer): Promise<void> {
  const args = ["export", "compose", "--state-dir", "state", "--base-image"];
  await expect(place.windjammer(...args, "node:24-other")).rejects.toThrow(
    /image of model composed is not built on node:24-other as this engine has it; .*--base-image/,
  );
  const { services } = parse(await place.windjammer(...args, BASE_IMAGE)) as ComposeFile;
  expect(services.windjammer.command.join(" ")).toContain(`--runtime docker --base-image ${BASE_IMAGE}`);
}

interface ComposeFile {
  readonly services: { readonly windjammer: { readonly command: readonly string[] } };
}

/** Exports the file, has docker-compose check it, and gives the query API's address. */
async function exported(place: Newcomer): Promise<string> {
  await place.windjammer("export", "compose", "--state-dir", "state", "--image", IMAGE, "-o", "compose.yaml");
  const checked = await place.type(`WINDJAMMER_TOKEN=${TOKEN} docker-compose -f compose.yaml config 2>&1`);
  expect(checked).not.toMatch(/warning|unsupported|invalid/i);
  expect(parse(checked)).toHaveProperty("services.windjammer.image", IMAGE);
  return place.queryUrl;
}

/** What the file describes runs until it is disposed; nothing of it is left then. */
async function up(place: Newcomer): Promise<AsyncDisposable> {
  const compose = `WINDJAMMER_TOKEN=${TOKEN} docker-compose -f compose.yaml`;
  await place.type(`${compose} up -d 2>&1`);
  place.env["WINDJAMMER_TOKEN"] = TOKEN;
  return {
    [Symbol.asyncDispose]: async () => {
      const log = await place.type(`${compose} logs --no-color 2>&1`);
      await place.type(`${compose} down 2>&1`);
      expect((await place.type(`${compose} ps -q`)).trim(), log).toBe("");
      const engine = await Engine.connect(undefined);
      expect(await engine.containers({ "com.docker.compose.project": placeName(place) })).toEqual([]);
    },
  };
}

function placeName(place: Newcomer): string {
  return (place.folder.split("/").at(-1) ?? "").toLowerCase();
}

/** The output; what went wrong where there is none. */
async function asked(url: string, input: readonly number[] = [1, 2, 3.5]): Promise<unknown> {
  try {
    const reply = await fetch(url, { method: "POST", body: JSON.stringify({ input }) });
    const { output, ...rest } = (await reply.json()) as { readonly output?: unknown };
    return output ?? rest;
  } catch (error) {
    return String(error);
  }
}

/** A container of the user's own, which sums as well. */
async function adderFolder(folder: string): Promise<void> {
  await writeTemplate("node", folder);
  const recipe = join(folder, "Dockerfile");
  await writeFile(recipe, (await readFile(recipe, "utf8")).replace(/^FROM .*/m, `FROM ${BASE_IMAGE}`));
}

async function imagesOf(engine: Engine): Promise<readonly string[]> {
  const models = ["composed", "composed-adder"].map((model) => engine.images({ "windjammer.model": model }));
  return (await Promise.all(models)).flat().map(({ id }) => id);
}

/** The packed package, on the image of the tests. */
async function imageWithWindjammer(folder: string): Promise<void> {
  await writeFile(join(folder, ".dockerignore"), "*\n!node_modules\n!package.json\n");
  await writeFile(
    join(folder, "Dockerfile"),
    `FROM ${BASE_IMAGE}\nCOPY . /opt/windjammer\nENV PATH=/opt/windjammer/node_modules/.bin:$PATH\n`,
  );
  await run("docker", ["build", "--quiet", "--tag", IMAGE, folder]);
}
