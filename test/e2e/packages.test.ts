// Packages that a model declares and that are not installed: npm installs them, once, and everything that can go wrong.
import { mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { PackageInstallError, PackageNotFoundError } from "../../core/errors.ts";
import { processRuntime } from "../../core/runtimes/process/index.ts";
import { processIdentity } from "../../core/runtimes/process/process-info.ts";
import type { PrepareOptions, Runtime } from "../../core/runtimes/runtime.ts";
import type { BundleFolder } from "../../core/types.ts";
import { lockPackages } from "../../deployers/lockfile.ts";
import { infer, ready, writeFunctionBundle } from "../conformance/replica-client.ts";
import { localRegistry, type LocalRegistry, type MadeUpPackage } from "./local-registry.ts";

const PACKAGES: readonly MadeUpPackage[] = [
  { name: "tiny", version: "1.0.0", files: { "index.js": `module.exports = "tiny 1.0.0";` } },
  { name: "tiny", version: "1.1.0", files: { "index.js": `module.exports = "tiny 1.1.0";` } },
  { name: "@me/scoped", version: "2.0.0", files: { "index.js": `module.exports = "scoped";` } },
  {
    name: "wants-tiny",
    version: "1.0.0",
    fields: { dependencies: { tiny: "^1.0.0" } },
    files: { "index.js": `module.exports = "wants " + require("tiny");` },
  },
  {
    name: "wants-missing",
    version: "1.0.0",
    fields: { dependencies: { "not-there": "^1.0.0" } },
    files: { "index.js": "" },
  },
  ...["scripted", "also-scripted"].map((name) => ({
    name,
    version: "1.0.0",
    fields: { scripts: { install: "node install.js" } },
    files: {
      "index.js": `module.exports = require("fs").existsSync(__dirname + "/ran");`,
      "install.js": `require("fs").writeFileSync(__dirname + "/ran", "");`,
    },
  })),
  {
    name: "script-hangs",
    version: "1.0.0",
    fields: { scripts: { install: "node install.js" } },
    files: {
      "index.js": "",
      "install.js": `require("fs").writeFileSync(process.env.TMPDIR + "/pid", String(process.pid)); setInterval(() => {}, 1000);`,
    },
  },
  {
    name: "script-fails",
    version: "1.0.0",
    fields: { scripts: { install: "node install.js" } },
    files: { "index.js": "", "install.js": `console.error("no compiler here"); process.exit(9);` },
  },
];

let registry: LocalRegistry;
let folder: string;
let runtime: Runtime;
let reports: string[];
let bundles = 0;

beforeAll(async () => {
  registry = await localRegistry(PACKAGES);
});

afterAll(() => registry[Symbol.asyncDispose]());

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "windjammer-install-")));
  vi.stubEnv("npm_config_registry", registry.url);
  vi.stubEnv("npm_config_cache", join(folder, "npm"));
  reports = [];
  runtime = await openRuntime();
});

afterEach(async () => {
  await runtime.close();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function openRuntime(name = "run"): Promise<Runtime> {
  const opened = processRuntime({ packagesFrom: [folder] });
  await opened.open({ runDir: join(folder, name), cacheDir: join(folder, "cache"), owner: "test" });
  return opened;
}

const listening: PrepareOptions = {
  report: (message) => reports.push(message),
  signal: new AbortController().signal,
};

function bundleWith(
  packages: Readonly<Record<string, string>>,
  allowScripts: Readonly<Record<string, boolean>> = {},
): Promise<BundleFolder> {
  bundles += 1;
  const source = `export const predict = (inputs) => inputs;`;
  return writeFunctionBundle(join(folder, "bundles", String(bundles)), source, { packages, allowScripts });
}

const load = (bundle: BundleFolder, name: string): unknown => createRequire(join(bundle.files, "x.js"))(name);
const installations = (): Promise<string[]> => readdir(join(folder, "cache", "packages"));

describe("installing", () => {
  it("happens once per dependency set, with a report of why, where and how long", async () => {
    const one = await bundleWith({ tiny: "1.0.0", "@me/scoped": "2.0.0" });
    const image = await runtime.prepare(one, listening);
    expect(load(one, "tiny")).toBe("tiny 1.0.0");
    expect(load(one, "@me/scoped")).toBe("scoped");
    expect(reports[0]).toBe(
      "tiny 1.0.0 is not installed here, @me/scoped 2.0.0 is not installed here: installing 2 packages (npm install)",
    );
    expect(reports.some((report) => report.startsWith("npm: added 2 packages"))).toBe(true);
    expect(reports.at(-1)).toMatch(/^installed in \d+\.\d s into /);

    reports.length = 0;
    const two = await bundleWith({ "@me/scoped": "2.0.0", tiny: "1.0.0" });
    expect(await runtime.prepare(two, listening)).toBe(image);
    expect(await runtime.prepare(two, listening)).toBe(image);
    expect(await readlink(join(two.root, "node_modules"))).toBe(
      await readlink(join(one.root, "node_modules")),
    );
    expect(reports.every((report) => report.startsWith("using packages installed before"))).toBe(true);
    expect(await installations()).toHaveLength(1);
  });

  it("keeps the lockfile beside the bundle, and installs by it when the cache is empty", async () => {
    const bundle = await bundleWith({ "wants-tiny": "1.0.0" });
    await runtime.prepare(bundle, listening);
    const lockfile = join(bundle.root, "package-lock.json");
    // As if it had been installed when tiny 1.1.0 was not published yet.
    const old = await bundleWith({ tiny: "1.0.0" });
    await runtime.prepare(old, listening);
    const locked = JSON.parse(await readFile(lockfile, "utf8")) as { packages: Record<string, unknown> };
    const oldLocked = JSON.parse(
      await readFile(join(old.root, "package-lock.json"), "utf8"),
    ) as typeof locked;
    locked.packages["node_modules/tiny"] = oldLocked.packages["node_modules/tiny"];
    await writeFile(lockfile, JSON.stringify(locked));
    await rm(join(folder, "cache"), { recursive: true });

    reports.length = 0;
    await runtime.close();
    runtime = await openRuntime();
    await runtime.prepare(bundle, listening);
    expect(load(bundle, "wants-tiny")).toBe("wants tiny 1.0.0");
    expect(reports[0]).toContain("npm ci");
    await runtime.prepare(bundle, listening);
    expect(await installations()).toHaveLength(1);
  });

  it("goes by the lockfile that comes with the bundle", async () => {
    const first = await bundleWith({ "wants-tiny": "1.0.0" });
    await runtime.prepare(first, listening);
    const second = await bundleWith({ "wants-tiny": "1.0.0" });
    const text = await readFile(join(first.root, "package-lock.json"), "utf8");
    await writeFile(join(second.files, "package-lock.json"), text);
    await runtime.prepare(second, listening);
    expect(reports.filter((report) => report.includes("npm ci"))).toHaveLength(1);
    expect(load(second, "wants-tiny")).toBe("wants tiny 1.1.0");

    const third = await bundleWith({ tiny: "1.0.0" });
    await writeFile(join(third.files, "package-lock.json"), text);
    await expect(runtime.prepare(third, listening)).rejects.toThrow("package-lock.json does not fit");
  });

  it("goes by the lockfile of the project that the function is deployed from", async () => {
    const first = await bundleWith({ "wants-tiny": "1.0.0" });
    const old = await bundleWith({ tiny: "1.0.0" });
    for (const bundle of [first, old]) await runtime.prepare(bundle, listening);
    const [lock, oldLock] = (await Promise.all(
      [first, old].map(async ({ root }) =>
        JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")),
      ),
    )) as { packages: Record<string, unknown> }[];
    const packages = { ...lock?.packages, "node_modules/tiny": oldLock?.packages["node_modules/tiny"] };
    const project = join(folder, "project");
    await mkdir(project);
    await writeFile(join(project, "package-lock.json"), JSON.stringify({ ...lock, packages }));

    const wanted = { packages: { "wants-tiny": "1.0.0" }, importerOf: () => project };
    const { text = "", notes } = await lockPackages(wanted);
    expect(notes).toEqual([]);
    expect(text).not.toContain(registry.url);
    const bundle = await bundleWith({ "wants-tiny": "1.0.0" });
    await writeFile(join(bundle.files, "package-lock.json"), text);
    await runtime.prepare(bundle, listening);
    expect(load(bundle, "wants-tiny")).toBe("wants tiny 1.0.0");
  });

  it("runs the install scripts of named packages only", async () => {
    const all = { scripted: "1.0.0", "also-scripted": "1.0.0" };
    const none = await bundleWith(all);
    await runtime.prepare(none, listening);
    expect([load(none, "scripted"), load(none, "also-scripted")]).toEqual([false, false]);
    const some = await bundleWith(all, { scripted: true, "also-scripted": false });
    await runtime.prepare(some, listening);
    expect([load(some, "scripted"), load(some, "also-scripted")]).toEqual([true, false]);
  });

  it("happens once for bundles prepared at the same time, also by several servers", async () => {
    const others = await Promise.all(["run2", "run3"].map(openRuntime));
    const made = await Promise.all(Array.from({ length: 6 }, () => bundleWith({ tiny: "1.0.0" })));
    const servers = [runtime, ...others, runtime, ...others];
    const images = await Promise.all(
      servers.map(async (server, i) => server.prepare(made[i] as BundleFolder, listening)),
    );
    expect(new Set(images).size).toBe(1);
    for (const bundle of made) expect(load(bundle, "tiny")).toBe("tiny 1.0.0");
    expect(await installations()).toHaveLength(1);
    await Promise.all(others.map((other) => other.close()));
  });

  it("says which version is there instead, and takes a package as soon as it is there exactly", async () => {
    const bundle = await bundleWith({ tiny: "1.0.0" });
    const own = await bundleWith({ tiny: "1.1.0" });
    await runtime.prepare(own, listening);
    const near = processRuntime({ packagesFrom: [own.files] });
    await near.open({ runDir: join(folder, "near"), cacheDir: join(folder, "cache"), owner: "test" });
    reports.length = 0;
    await near.prepare(bundle, listening);
    expect(reports[0]).toMatch(
      /^tiny 1\.0\.0 is not installed here \(found 1\.1\.0 in .*tiny\): installing 1 package /,
    );
    const exact = await bundleWith({ tiny: "1.1.0" });
    await near.prepare(exact, listening);
    expect(reports.at(-1)).toMatch(/^using tiny 1\.1\.0 from .*: exact version installed there$/);
    await near.close();
  });
});

describe("what goes wrong", () => {
  it("is a package that does not exist, by name", async () => {
    const bundle = await bundleWith({ "no-such-thing": "1.0.0" });
    const error = await runtime.prepare(bundle, listening).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect((error as Error).message).toContain("no-such-thing@1.0.0 does not exist");
    expect(await installations()).toEqual([]);
  });

  it("is a version that does not exist, with those that do", async () => {
    const bundle = await bundleWith({ tiny: "9.9.9" });
    const error = await runtime.prepare(bundle, listening).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect((error as Error).message).toContain("tiny@9.9.9 does not exist in this version");
    expect((error as Error).message).toContain("newest are 1.1.0, 1.0.0");
  });

  it("is a package that a package needs", async () => {
    const bundle = await bundleWith({ "wants-missing": "1.0.0" });
    await expect(runtime.prepare(bundle, listening)).rejects.toThrow("not-there@");
  });

  it("is a script that fails, with its words", async () => {
    const bundle = await bundleWith({ "script-fails": "1.0.0" }, { "script-fails": true });
    const error = await runtime.prepare(bundle, listening).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageInstallError);
    expect((error as PackageInstallError).details["logTail"]).toEqual(
      expect.arrayContaining([expect.stringContaining("no compiler here")]),
    );
    expect(await installations()).toEqual([]);
  });

  it("is no registry at all", async () => {
    vi.stubEnv("npm_config_registry", "http://127.0.0.1:9");
    const error = await runtime
      .prepare(await bundleWith({ tiny: "1.0.0" }), listening)
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageInstallError);
    expect((error as Error).message).toContain("check the network");
  });

  it("is no npm at all", async () => {
    vi.stubEnv("PATH", join(folder, "nothing"));
    vi.stubEnv("npm_execpath", undefined);
    const alone = processRuntime({ packagesFrom: [] });
    await alone.open({ runDir: join(folder, "alone"), cacheDir: join(folder, "cache"), owner: "test" });
    await expect(alone.prepare(await bundleWith({ tiny: "1.0.0" }), listening)).rejects.toThrow(
      "npm was not found",
    );
    await alone.close();
  });

  it("is an abort, which leaves nothing and does not spoil the next try", async () => {
    const controller = new AbortController();
    const bundle = await bundleWith({ hangs: "1.0.0" });
    const preparing = runtime.prepare(bundle, { ...listening, signal: controller.signal });
    const failed = expect(preparing).rejects.toThrow("enough of it");
    await registry.hangs;
    controller.abort(new Error("enough of it"));
    await failed;
    expect(await installations()).toEqual([]);
    expect(await readdir(bundle.root)).toEqual(["files"]);
    await runtime.prepare(await bundleWith({ tiny: "1.0.0" }), listening);
  });

  it("is a close while a script runs, which ends the script too", async () => {
    vi.stubEnv("TMPDIR", folder);
    const bundle = await bundleWith({ "script-hangs": "1.0.0" }, { "script-hangs": true });
    const failed = expect(runtime.prepare(bundle, listening)).rejects.toThrow("closing");
    const pid = await expect
      .poll(() => readFile(join(folder, "pid"), "utf8").catch(() => ""))
      .toMatch(/^\d+$/)
      .then(() => readFile(join(folder, "pid"), "utf8"));
    await runtime.close();
    await failed;
    await expect.poll(() => processIdentity(Number(pid))).toBeUndefined();
    expect(await installations()).toEqual([]);
  });
});

it("serves a model with a package of the real registry", async () => {
  vi.stubEnv("npm_config_registry", undefined);
  const source = `
    import isNumber from "is-number";
    export const predict = (inputs) => inputs.map((row) => row.every((value) => isNumber(value)));`;
  const bundle = await writeFunctionBundle(join(folder, "bundles", "real"), source, {
    packages: { "is-number": "7.0.0" },
  });
  const image = await runtime.prepare(bundle, listening);
  const replica = await runtime.start({
    id: "m-1-r1",
    model: "m",
    version: "1",
    image,
    bundle,
    limits: { cpus: 1 },
  });
  await ready(replica);
  expect(await infer(replica, [[1, 2]])).toEqual([true]);
});
