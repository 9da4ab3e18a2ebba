// Packages of a bundle from where they are installed already. Installing is tested in test/e2e/packages.test.ts.
import { mkdir, mkdtemp, readdir, readlink, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findPackage } from "../../../../core/runtimes/process/installed-packages.ts";
import { PackageCache } from "../../../../core/runtimes/process/package-cache.ts";
import { preparePackages } from "../../../../core/runtimes/process/packages.ts";
import type { BundleFolder } from "../../../../core/types.ts";
import { emptyBundle } from "./scripts.ts";

let folder: string;
let reports: string[];

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "windjammer-packages-")));
  reports = [];
});

afterEach(() => rm(folder, { recursive: true }));

async function installed(where: string, name: string, version: string): Promise<string> {
  const path = join(folder, where, "node_modules", name);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "package.json"), JSON.stringify({ name, version }));
  await writeFile(join(path, "index.js"), `module.exports = "${name} ${version}";`);
  return path;
}

async function bundleWith(packages: Readonly<Record<string, string>>): Promise<BundleFolder> {
  const bundle = emptyBundle(join(folder, "bundle"));
  await mkdir(bundle.files, { recursive: true });
  return { ...bundle, manifest: { ...bundle.manifest, packages } };
}

function prepare(bundle: BundleFolder, ...from: string[]): Promise<string> {
  return preparePackages(
    bundle,
    { installedIn: from.map((name) => join(folder, name)), cache: new PackageCache(join(folder, "cache")) },
    { report: (message) => reports.push(message), signal: new AbortController().signal },
  );
}

const load = (bundle: BundleFolder, name: string): unknown => createRequire(join(bundle.files, "x.js"))(name);

it("links packages that are there in the exact version, scoped ones too, and says from where", async () => {
  const a = await installed("project", "a", "1.2.3");
  await installed("project", "@me/b", "2.0.0-rc.1");
  const bundle = await bundleWith({ a: "1.2.3", "@me/b": "2.0.0-rc.1" });
  await prepare(bundle, "project");
  expect(load(bundle, "a")).toBe("a 1.2.3");
  expect(load(bundle, "@me/b")).toBe("@me/b 2.0.0-rc.1");
  expect(reports).toContain(`using a 1.2.3 from ${a}: exact version installed there`);
});

it("finds packages in folders above, and the nearest one counts, as for Node", async () => {
  await installed(".", "a", "1.0.0");
  await installed("project", "b", "1.0.0");
  await installed(".", "b", "2.0.0");
  expect(await findPackage("a", join(folder, "project", "deep"))).toMatchObject({ version: "1.0.0" });
  expect(await findPackage("b", join(folder, "project", "deep"))).toMatchObject({ version: "1.0.0" });
  expect(await findPackage("c", folder)).toBeUndefined();
});

it("follows installations that are links, so that a package finds its own dependencies", async () => {
  const store = await installed("store/a", "a", "1.0.0");
  await installed("store/a", "helper", "1.0.0");
  await writeFile(join(store, "index.js"), `module.exports = "with " + require("helper");`);
  await mkdir(join(folder, "project", "node_modules"), { recursive: true });
  await symlink(store, join(folder, "project", "node_modules", "a"));
  const bundle = await bundleWith({ a: "1.0.0" });
  await prepare(bundle, "project");
  expect(load(bundle, "a")).toBe("with helper 1.0.0");
});

it("takes all packages from one folder: the first that has them all", async () => {
  await installed("one", "a", "1.0.0");
  await installed("two", "a", "1.0.0");
  const b = await installed("two", "b", "1.0.0");
  const bundle = await bundleWith({ a: "1.0.0", b: "1.0.0" });
  await prepare(bundle, "one", "two");
  expect(reports).toHaveLength(2);
  expect(reports.every((report) => report.includes(join(folder, "two")))).toBe(true);
  expect(reports[1]).toContain(b);
});

it("gives the same name for the same packages, and another one when they come from elsewhere", async () => {
  await installed("one", "a", "1.0.0");
  await installed("two", "a", "1.0.0");
  const bundle = await bundleWith({ a: "1.0.0" });
  const image = await prepare(bundle, "one");
  expect(await prepare(bundle, "one")).toBe(image);
  expect(await prepare(bundle, "two")).not.toBe(image);
  const names = await readdir(bundle.root);
  expect(names.filter((name) => name.startsWith("linked-"))).toHaveLength(1);
  expect(names.toSorted().slice(0, 1)).toEqual(["files"]);
});

it("can be done many times at once", async () => {
  await installed("project", "a", "1.0.0");
  const bundle = await bundleWith({ a: "1.0.0" });
  await Promise.all(Array.from({ length: 20 }, () => prepare(bundle, "project")));
  expect(load(bundle, "a")).toBe("a 1.0.0");
  expect((await readdir(bundle.root)).filter((name) => name.endsWith(".new"))).toEqual([]);
});

it("replaces links of an earlier run, and a real folder of that name", async () => {
  await installed("project", "a", "1.0.0");
  const bundle = await bundleWith({ a: "1.0.0" });
  await mkdir(join(bundle.root, "node_modules", "left-over"), { recursive: true });
  await prepare(bundle, "project");
  expect(load(bundle, "a")).toBe("a 1.0.0");
  expect(await readlink(join(bundle.root, "node_modules"))).toMatch(/^linked-/);
});

it("has nothing to do without packages, and removes old links", async () => {
  const bundle = await bundleWith({});
  await symlink(join(folder, "nowhere"), join(bundle.root, "node_modules"));
  await prepare(bundle);
  expect(await readdir(bundle.root)).toEqual(["files"]);
  expect(reports).toEqual([]);
});

it("removes what a killed server left unfinished, not what a running one is making", async () => {
  const cache = join(folder, "cache");
  const ours = `.unfinished-${process.pid}-abc`;
  for (const name of [ours, ".unfinished-1073741824-abc", "finished"]) {
    await mkdir(join(cache, name, "node_modules"), { recursive: true });
  }
  await new PackageCache(cache).open();
  expect((await readdir(cache)).toSorted()).toEqual([ours, "finished"]);
});
