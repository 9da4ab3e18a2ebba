// What the bundles of every deployer are like: whole, the same for the same files, refused with words for what is wrong.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MANIFEST_FILE, type Manifest } from "../../containers/protocol.ts";
import { checkDeployOptions } from "../client/deploy-options.ts";
import { hashFolder, manifestSchema, readManifest } from "../deploy/bundle.ts";
import { filesOf } from "../deploy/manifest-schema.ts";
import { InvalidOptionsError, WindjammerError } from "../errors.ts";
import { check, thrownBy, type Check, type DeployerCase, type MakeFolder } from "./case.ts";

interface Bundle {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly hash: string;
  /** What the deployer reported. */
  readonly messages: readonly string[];
}

/** Checks of bundles, without a server. They may run in any order. */
export function bundleChecks<Options extends object>(test: DeployerCase<Options>): readonly Check[] {
  const made = new Bundles(test);
  const { missingFile } = test;
  return [
    check(
      "bundles have a manifest that the server takes, a loader that exists, and the files that it names",
      (folder) => made.areWhole(folder),
    ),
    check(
      "bundles are equal for equal files, wherever these lie, and name no folder of the machine",
      (folder) => made.areDeterministic(folder),
    ),
    check("bundles differ for other files", (folder) => made.differ(folder)),
    check("bundles come with a word on what was done", async (folder) => {
      const { messages } = await made.bundle(await test.write(await folder(), "first"), folder);
      assert.notEqual(messages.length, 0, "expected a message by the third argument of bundle");
    }),
    ...(missingFile === undefined
      ? []
      : [
          check("bundles are not made of a file that is not there: the error names it", (folder) =>
            made.nameMissing(missingFile, folder),
          ),
        ]),
    ...test.wrongOptions.map(({ change, message }) =>
      check(`bundles are not made with ${JSON.stringify(change)}`, (folder) =>
        made.refuse(change, message, folder),
      ),
    ),
  ];
}

class Bundles<Options extends object> {
  readonly #test: DeployerCase<Options>;

  constructor(test: DeployerCase<Options>) {
    this.#test = test;
  }

  async bundle(options: Options, makeFolder: MakeFolder): Promise<Bundle> {
    const { deployer } = this.#test;
    const folder = await makeFolder("wj-bundle-");
    const messages: string[] = [];
    const { own } = checkDeployOptions(deployer, { name: "model", version: "1", ...options });
    const manifest = await deployer.bundle(own, folder, (message) => messages.push(message));
    await writeFile(join(folder, MANIFEST_FILE), JSON.stringify(manifest));
    return { folder, manifest, hash: await hashFolder(folder), messages };
  }

  async areWhole(makeFolder: MakeFolder): Promise<void> {
    const options = await this.#test.write(await makeFolder(), "first");
    const { folder, manifest } = await this.bundle(options, makeFolder);
    assert.deepEqual(manifestSchema.parse(manifest), manifest);
    assert.deepEqual(await readManifest(folder), manifest);
    const isOurs = ["ts", "js"].some((extension) =>
      existsSync(new URL(`../../containers/${manifest.loader}/loader.${extension}`, import.meta.url)),
    );
    // A container that is not ours brings its own.
    assert.ok(
      isOurs || manifest.loader === manifest.container?.kind,
      `there is no loader ${manifest.loader}`,
    );
    for (const { file } of filesOf(manifest.model))
      assert.ok(existsSync(join(folder, file)), `the bundle has no ${file}, which manifest.model names`);
  }

  async areDeterministic(makeFolder: MakeFolder): Promise<void> {
    const here = await makeFolder();
    const options = await this.#test.write(here, "first");
    const first = await this.bundle(options, makeFolder);
    const again = await this.bundle(options, makeFolder);
    const there = join(await makeFolder(), "deeper", "down");
    await cp(here, there, { recursive: true });
    const moved = await this.bundle(await this.#test.write(there, "first"), makeFolder);
    assert.equal(again.hash, first.hash, "made twice of the same files, a bundle must be the same");
    assert.equal(moved.hash, first.hash, "made of the same files elsewhere, a bundle must be the same");
    for (const entry of await readdir(first.folder, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name);
      if (entry.isFile())
        assert.ok(!(await readFile(file)).includes(here), `${file} holds the path of the user's folder`);
    }
  }

  async differ(makeFolder: MakeFolder): Promise<void> {
    const first = await this.bundle(await this.#test.write(await makeFolder(), "first"), makeFolder);
    const second = await this.bundle(await this.#test.write(await makeFolder(), "second"), makeFolder);
    assert.notEqual(second.hash, first.hash);
  }

  async nameMissing(
    missingFile: NonNullable<DeployerCase<Options>["missingFile"]>,
    makeFolder: MakeFolder,
  ): Promise<void> {
    const folder = await makeFolder();
    const options = { ...(await this.#test.write(folder, "first")), ...missingFile(folder) };
    const error = await thrownBy(this.bundle(options, makeFolder), "a bundle of a file that is not there");
    assert.ok(error instanceof WindjammerError, `expected an error of windjammer, got ${String(error)}`);
    assert.equal(error.code, "MODEL_FILE_NOT_FOUND");
    mentions(error, folder);
  }

  async refuse(change: object, message: string, makeFolder: MakeFolder): Promise<void> {
    const options = { ...(await this.#test.write(await makeFolder(), "first")), ...change };
    const error = await thrownBy(this.bundle(options, makeFolder), "a bundle with these options");
    assert.ok(error instanceof InvalidOptionsError, `expected INVALID_OPTIONS, got ${String(error)}`);
    mentions(error, message);
  }
}

/** @throws AssertionError */
export function mentions({ message }: Error, text: string): void {
  assert.ok(
    message.includes(text),
    `expected a message with ${JSON.stringify(text)}, got ${JSON.stringify(message)}`,
  );
}
