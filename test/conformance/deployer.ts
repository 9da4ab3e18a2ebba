// The suites every deployer passes: what its bundles are like, and how what it deploys serves.
import { existsSync } from "node:fs";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MANIFEST_FILE, type JsonValue, type Manifest } from "../../containers/protocol.ts";
import { checkDeployOptions } from "../../core/client/deploy-options.ts";
import { hashFolder, manifestSchema, readManifest } from "../../core/deploy/bundle.ts";
import { filesOf } from "../../core/deploy/manifest-schema.ts";
import {
  InvalidInputError,
  InvalidOptionsError,
  ModelError,
  VersionExistsError,
  WindjammerError,
  windjammer,
  type ApplicationHandle,
  type DeployedApplication,
  type Deployer,
  type DeployOptions,
  type Windjammer,
} from "../../core/index.ts";
import { processRuntime } from "../../core/runtimes/process/index.ts";
import { tempFolder } from "../helpers/temp.ts";

/** A deployer with a model for it to bundle. */
export interface DeployerCase<Options extends object> {
  readonly deployer: Deployer<Options>;
  /** Writes a user's files into an empty folder, in one of two contents, and gives the options that name them. */
  write(folder: string, content: "first" | "second"): Promise<Options>;
  /** Changes to the options that must be refused, and what the message must hold. */
  readonly wrongOptions: readonly { readonly change: object; readonly message: string }[];
  /** Change that names a file that is not there. */
  readonly missingFile: (folder: string) => Partial<Options>;
}

interface Bundle {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly hash: string;
}

async function bundle<Options extends object>(
  deployer: Deployer<Options>,
  options: Options,
  messages: string[] = [],
): Promise<Bundle> {
  const folder = await tempFolder("wj-bundle-");
  const checked = checkDeployOptions(deployer, { name: "model", version: "1", ...options });
  const manifest = await deployer.bundle(checked.own, folder, (message) => messages.push(message));
  await writeFile(join(folder, MANIFEST_FILE), JSON.stringify(manifest));
  return { folder, manifest, hash: await hashFolder(folder) };
}

/** The contract of `Deployer`: bundles, without a server. */
export function testDeployer<Options extends object>(test: DeployerCase<Options>): void {
  const { deployer } = test;

  describe(`bundles of the ${deployer.name} deployer`, () => {
    it("have a manifest that the server takes, a loader that exists, and the files that it names", async () => {
      const { folder, manifest } = await bundle(deployer, await test.write(await tempFolder(), "first"));
      expect(manifestSchema.parse(manifest)).toEqual(manifest);
      expect(await readManifest(folder)).toEqual(manifest);
      const loader = new URL(`../../containers/${manifest.loader}/loader.ts`, import.meta.url);
      // A container that is not ours brings its own.
      expect(existsSync(loader) || manifest.loader === manifest.container?.kind).toBe(true);
      for (const { file } of filesOf(manifest.model)) expect(existsSync(join(folder, file)), file).toBe(true);
    });

    it("are equal for equal files, wherever these lie, and name no folder of the machine", async () => {
      const here = await tempFolder();
      const options = await test.write(here, "first");
      const first = await bundle(deployer, options);
      const again = await bundle(deployer, options);
      const there = join(await tempFolder(), "deeper", "down");
      const moved = await bundle(deployer, await test.write(await copyOf(here, there), "first"));
      expect(again.hash).toBe(first.hash);
      expect(moved.hash).toBe(first.hash);
      for (const entry of await readdir(first.folder, { recursive: true, withFileTypes: true })) {
        const file = join(entry.parentPath, entry.name);
        if (entry.isFile()) expect((await readFile(file)).includes(here), file).toBe(false);
      }
    });

    it("differ for other files", async () => {
      const first = await bundle(deployer, await test.write(await tempFolder(), "first"));
      const second = await bundle(deployer, await test.write(await tempFolder(), "second"));
      expect(second.hash).not.toBe(first.hash);
    });

    it("come with a word on what was done", async () => {
      const messages: string[] = [];
      await bundle(deployer, await test.write(await tempFolder(), "first"), messages);
      expect(messages.length).toBeGreaterThan(0);
    });

    it("are not made of a file that is not there: the error names it", async () => {
      const folder = await tempFolder();
      const options = { ...(await test.write(folder, "first")), ...test.missingFile(folder) };
      const error = await bundle(deployer, options).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(WindjammerError);
      expect(error).toMatchObject({ code: "MODEL_FILE_NOT_FOUND" });
      expect((error as Error).message).toContain(folder);
    });

    it.each(test.wrongOptions)("are not made with $change", async ({ change, message }) => {
      const options = { ...(await test.write(await tempFolder(), "first")), ...change };
      const error = await bundle(deployer, options).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InvalidOptionsError);
      expect((error as Error).message).toContain(message);
    });
  });
}

async function copyOf(from: string, to: string): Promise<string> {
  await cp(from, to, { recursive: true });
  return to;
}

/** A deployer with a model that answers, and that fails on one input. */
export interface ServedCase<Options extends object> extends DeployerCase<Options> {
  readonly inputs: readonly JsonValue[];
  /** What the first and the second content answer to `inputs`. */
  readonly outputs: Readonly<Record<"first" | "second", readonly JsonValue[]>>;
  /** An input that does not fit the contract, and what the message must hold. */
  readonly badInput: { readonly input: JsonValue; readonly message: string };
  /** Where the model's packages are installed, if not where Windjammer's are. */
  readonly packagesFrom?: readonly string[];
  /** An input that fits the contract and that the model throws on, and what the message must hold. */
  readonly failing: { readonly input: JsonValue; readonly message: string };
}

/** How a deployed model serves: on a running Windjammer, with real model containers. */
export function testDeployments<Options extends object>(test: ServedCase<Options>): void {
  const { deployer, inputs } = test;
  const name = `served-${deployer.name}`;

  describe(`what the ${deployer.name} deployer deploys`, () => {
    let wj: Windjammer;
    let handle: ApplicationHandle;

    async function deploy(
      version: string,
      content: "first" | "second",
      more: Partial<DeployOptions> = {},
    ): Promise<DeployedApplication> {
      const options = await test.write(await tempFolder(), content);
      return wj.deploy(deployer, { name, version, ...more, ...options });
    }

    beforeAll(async () => {
      const { packagesFrom } = test;
      const runtime = packagesFrom === undefined ? undefined : processRuntime({ packagesFrom });
      wj = await windjammer({ port: 0, adminPort: 0, runtime });
    });

    afterAll(() => wj.close());

    it("starts from one deployment, with its examples as the gate", async () => {
      const examples = inputs.map((input, index) => ({ input, output: test.outputs.first[index] ?? null }));
      const deployed = await deploy("1", "first", { examples });
      handle = deployed;
      expect(deployed.deployment).toMatchObject({ state: "succeeded", result: "deployed", version: "1" });
    });

    it("answers one query, and a list in order", async () => {
      for (const [index, input] of inputs.entries()) {
        expect(await handle.predict(input)).toEqual(test.outputs.first[index]);
      }
      const many = Array.from({ length: 50 }, (_, index) => index % inputs.length);
      const answers = await handle.predictBatch(many.map((index) => inputs[index] ?? null));
      expect(answers).toEqual(many.map((index) => test.outputs.first[index]));
    });

    it("answers a plain HTTP request in the Clipper dialect", async () => {
      const response = await fetch(handle.url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ input: inputs[0] }),
      });
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ output: test.outputs.first[0], default: false });
    });

    it("refuses an input that does not fit, and says where", async () => {
      const error = await handle.predict(test.badInput.input).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InvalidInputError);
      expect((error as Error).message).toContain(test.badInput.message);
    });

    it("fails on an input that the model throws on, and on that one alone", async () => {
      const batch = [inputs[0] ?? null, test.failing.input, inputs[1] ?? null];
      const [before, failed, after] = await handle.predictDetailed(batch);
      expect(before).toMatchObject({ output: test.outputs.first[0] });
      expect(after).toMatchObject({ output: test.outputs.first[1] });
      const { error } = failed as { readonly error: Error };
      expect(error).toBeInstanceOf(ModelError);
      expect(error.message).toContain(test.failing.message);
    });

    it("is unchanged by the same content, and keeps a version from other content", async () => {
      const again = await deploy("1", "first");
      expect(again.deployment).toMatchObject({ state: "succeeded", result: "unchanged" });
      await expect(deploy("1", "second")).rejects.toThrow(VersionExistsError);
      expect(await handle.predict(inputs[0] ?? null)).toEqual(test.outputs.first[0]);
    });

    it("changes with a new version, and back", async () => {
      await deploy("2", "second");
      expect(await handle.predictBatch(inputs)).toEqual(test.outputs.second);
      await wj.setVersion(name, "1");
      expect(await handle.predictBatch(inputs)).toEqual(test.outputs.first);
    });

    it("is gone after close, with its processes", async () => {
      const pids = (await wj.replicas()).map(({ handle: pid }) => Number(pid)).filter((pid) => pid > 0);
      expect(pids.length).toBeGreaterThan(0);
      await wj.close();
      await expect(handle.predict(inputs[0] ?? null)).rejects.toThrow(WindjammerError);
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    });
  });
}
