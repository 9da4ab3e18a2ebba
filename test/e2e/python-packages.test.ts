// Requirements of Python models under the process runtime: installed once, and clear words when that fails.
import { spawnSync } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  DiskFullError,
  InvalidBundleError,
  PackageInstallError,
  PackageNotFoundError,
  UnsupportedModelError,
} from "../../core/errors.ts";
import { ProcessRuntime } from "../../core/runtimes/process/process-runtime.ts";
import type { BundleFolder } from "../../core/types.ts";
import { mountSmallDisk, whyNoMount } from "../core/small-disk.ts";
import { pythonFunction, pythonRuns } from "../helpers/python.ts";
import { pythonIndex, wheelName, wheelOf, type MadePackage, type PythonIndex } from "./python-index.ts";

const PACKAGES: readonly MadePackage[] = [
  { name: "alpha", version: "1.0" },
  { name: "alpha", version: "1.1" },
  { name: "beta", version: "2.0+local", requires: ["alpha==1.1"] },
  { name: "alpha", version: "3.0", isSource: true },
  { name: "heavy", version: "1.0", ballast: 80 * 2 ** 20 },
];

const canInstall = pythonRuns("python3", "import sys, venv, ensurepip; assert sys.version_info >= (3, 9)");

let folder: string;
let index: PythonIndex;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-python-"));
  index = await pythonIndex(PACKAGES);
  // None of the machine's own settings.
  vi.stubEnv("PIP_CONFIG_FILE", "/dev/null");
  vi.stubEnv("PIP_FIND_LINKS", undefined);
  vi.stubEnv("PIP_EXTRA_INDEX_URL", undefined);
  vi.stubEnv("PIP_INDEX_URL", index.url);
  vi.stubEnv("PIP_CACHE_DIR", join(folder, "pip"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await index[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function opened(python?: string, cacheDir = join(folder, "cache")): Promise<ProcessRuntime> {
  const runtime = new ProcessRuntime({
    packagesFrom: [],
    nodeArgs: [],
    killGraceMs: 200,
    entry: "none",
    python,
  });
  const runDir = await mkdtemp(join(folder, "run-"));
  await runtime.open({ runDir, cacheDir, owner: "test" });
  onTestFinished(() => runtime.close());
  return runtime;
}

let bundles = 0;

async function bundleOf(
  requirements: string,
  wheels: readonly MadePackage[] = [],
  fromSource: readonly string[] = [],
): Promise<BundleFolder> {
  bundles += 1;
  const root = join(folder, `bundle-${bundles}`);
  const files = join(root, "files");
  await mkdir(files, { recursive: true });
  const allowScripts = Object.fromEntries(fromSource.map((name) => [name, true]));
  const manifest = { ...pythonFunction(), allowScripts };
  await writeFile(join(files, "manifest.json"), JSON.stringify(manifest));
  await writeFile(
    join(files, "predict.py"),
    "import alpha\n\ndef predict(model, inputs):\n    return [alpha.VERSION for _ in inputs]\n",
  );
  if (requirements !== "") await writeFile(join(files, "requirements.txt"), requirements);
  if (wheels.length > 0) await mkdir(join(files, "wheels"));
  for (const wheel of wheels) await writeFile(join(files, "wheels", wheelName(wheel)), wheelOf(wheel));
  return { hash: `${bundles}`.padStart(64, "0"), root, files, manifest };
}

interface Prepared {
  readonly reports: readonly string[];
  /** What the module alpha says in the bundle's interpreter. */
  readonly alpha: string;
}

async function prepare(
  runtime: ProcessRuntime,
  bundle: BundleFolder,
  signal?: AbortSignal,
): Promise<Prepared> {
  const reports: string[] = [];
  await runtime.prepare(bundle, {
    report: (message) => reports.push(message),
    signal: signal ?? new AbortController().signal,
  });
  const python = await readlink(join(bundle.root, "python"));
  const { stdout } = spawnSync(python, ["-I", "-c", "import alpha; print(alpha.VERSION)"], {
    encoding: "utf8",
  });
  return { reports, alpha: stdout.trim() };
}

async function environments(): Promise<readonly string[]> {
  return (await readdir(join(folder, "cache/python"))).filter((name) => name.startsWith("environment-"));
}

async function failure(requirements: string, python?: string): Promise<Error> {
  const runtime = await opened(python);
  const error: unknown = await prepare(runtime, await bundleOf(requirements)).catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(Error);
  expect(await environments()).toEqual([]);
  return error as Error;
}

describe.skipIf(!canInstall)("requirements (skipped without Python 3.9, venv and ensurepip)", () => {
  it("are installed once for each set, with progress, and with what they depend on", async () => {
    const runtime = await opened();
    const first = await prepare(runtime, await bundleOf("beta==2.0+local\n"));
    expect(first.alpha).toBe("1.1");
    expect(first.reports[0]).toMatch(/^installing 1 Python package for Python 3\.\d+\.\d+ \(pip install\)$/);
    expect(first.reports).toContainEqual(expect.stringMatching(/^pip: Collecting beta==2\.0\+local/));
    expect(first.reports.at(-1)).toMatch(/^installed in [\d.]+ s into /);

    const asked = index.requests.length;
    const again = await prepare(runtime, await bundleOf("# the same\nbeta==2.0+local"));
    expect(again.reports).toEqual([expect.stringMatching(/^using Python packages installed before in /)]);
    expect(index.requests).toHaveLength(asked);
    expect((await prepare(runtime, await bundleOf("alpha==1.0"))).alpha).toBe("1.0");
    expect(await environments()).toHaveLength(2);
  });

  it.skipIf(!pythonRuns("python3", "import venv"))(
    "are installed by the environment's own pip where the interpreter has none that could",
    async () => {
      const python = await copyOfPython(join(folder, "bare"), ["site-packages", "dist-packages"]);
      expect((await prepare(await opened(python), await bundleOf("alpha==1.0"))).alpha).toBe("1.0");
    },
  );

  it("are installed once by two deployments at the same time, and by two servers one of them wins", async () => {
    const [one, two] = [await opened(), await opened()];
    const all = await Promise.all([
      prepare(one, await bundleOf("alpha==1.0")),
      prepare(one, await bundleOf("alpha==1.0")),
      prepare(two, await bundleOf("alpha==1.0")),
    ]);
    expect(all.map(({ alpha }) => alpha)).toEqual(["1.0", "1.0", "1.0"]);
    expect(await environments()).toHaveLength(1);
  });

  it("are installed anew when the cache was emptied under a version that is started again", async () => {
    const runtime = await opened();
    const bundle = await bundleOf("alpha==1.1");
    await prepare(runtime, bundle);
    await rm(join(folder, "cache/python"), { recursive: true });
    await mkdir(join(folder, "cache/python"));
    const image = "process:test";
    const replica = await runtime.start({
      id: "m-1-r1",
      model: "m",
      version: "1",
      image,
      bundle,
      limits: { cpus: 1 },
    });
    const reader = replica.logs({ follow: true, tail: 100 });
    for await (const { text } of reader) if (text.includes("is ready on")) break;
    await replica.stop(5_000);
    expect(await replica.exited).toMatchObject({ reason: "stopped" });
  });

  it("come from wheels in the bundle, where no index answers", async () => {
    vi.stubEnv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/");
    const runtime = await opened();
    const wheels = [{ name: "alpha", version: "7.0" }];
    expect((await prepare(runtime, await bundleOf("alpha==7.0", wheels))).alpha).toBe("7.0");
  });

  it("that come as source run no code of their own, unless buildFromSource names them", async () => {
    const error = await failure("alpha==3.0");
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect(error.message).toContain("alpha==3.0 has no wheel of this version for this Python and machine");
    expect(error.message).toContain("name the package in buildFromSource");
    const built = await prepare(await opened(), await bundleOf("alpha==3.0", [], ["alpha"]));
    expect(built.alpha).toBe("3.0");
    expect(built.reports.join("\n")).toContain("Building wheel");
    expect(await environments()).toHaveLength(1);
  });

  it("with hashes are held to them", async () => {
    const hash = index.hashes["alpha-1.0-py3-none-any.whl"];
    const runtime = await opened();
    expect((await prepare(runtime, await bundleOf(`alpha==1.0 --hash=sha256:${hash}`))).alpha).toBe("1.0");
    const wrong = prepare(runtime, await bundleOf(`alpha==1.1 --hash=sha256:${hash}`));
    await expect(wrong).rejects.toThrow(PackageInstallError);
    await expect(wrong).rejects.toThrow("correct the hashes in requirements.txt");
  });

  it("of a version that does not exist are refused with those that do", async () => {
    const error = await failure("alpha==9.9");
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect(error.message).toContain(
      "alpha==9.9 has no wheel of this version for this Python and machine (there are 1.1, 1.0)",
    );
  });

  it("of a package that does not exist are refused by its name", async () => {
    const error = await failure("no-such-package==1.0");
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect(error.message).toContain("no-such-package==1.0 does not exist in pip's index");
  });

  it("that do not fit each other are refused with both", async () => {
    const error = await failure("alpha==1.0\nbeta==2.0+local");
    expect(error).toBeInstanceOf(PackageInstallError);
    expect(error.message).toMatch(
      /The user requested alpha==1\.0; beta 2\.0\+local depends on alpha==1\.1; /,
    );
  });

  it("without a network say so, and what to do", async () => {
    vi.stubEnv("PIP_RETRIES", "1");
    vi.stubEnv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/");
    const error = await failure("alpha==1.0");
    expect(error).toBeInstanceOf(PackageInstallError);
    expect(error.message).toMatch(
      /alpha==1\.0 was not found, and an index did not answer; pip cannot reach its index/,
    );
  });

  it.skipIf(whyNoMount !== undefined)(`on a full disk say so ${whyNoMount ?? ""}`, async () => {
    const disk = await mountSmallDisk({ size: "60m" });
    onTestFinished(() => disk.unmount());
    const runtime = await opened(undefined, disk.path);
    await expect(prepare(runtime, await bundleOf("heavy==1.0"))).rejects.toThrow(DiskFullError);
    await expect(prepare(runtime, await bundleOf("heavy==1.0"))).rejects.toThrow(
      "free some and deploy again",
    );
  });

  it("stop when the deployment is cancelled, and leave nothing", async () => {
    const runtime = await opened();
    const controller = new AbortController();
    const bundle = await bundleOf("alpha==1.0");
    const cancelled = runtime.prepare(bundle, {
      report: (message) =>
        message.startsWith("pip: Collecting") && controller.abort(new Error("changed my mind")),
      signal: controller.signal,
    });
    await expect(cancelled).rejects.toThrow("changed my mind");
    expect(await environments()).toEqual([]);
    expect((await prepare(runtime, bundle)).alpha).toBe("1.0");
  });

  it("that a killed server left half installed are cleared away by the next one", async () => {
    const dead = spawnSync("true").pid;
    await mkdir(join(folder, "cache/python", `environment-${dead}-abc`), { recursive: true });
    await mkdir(join(folder, "cache/python", `environment-${process.pid}-abc`), { recursive: true });
    await opened();
    expect(await environments()).toEqual([`environment-${process.pid}-abc`]);
  });

  it.each(["alpha", "-r /etc/passwd", "alpha==1.0; $(id)"])(
    "that no deployer would write are refused before pip sees them: %s",
    async (requirements) => {
      const runtime = await opened();
      await expect(prepare(runtime, await bundleOf(requirements))).rejects.toThrow(InvalidBundleError);
      expect(index.requests).toEqual([]);
    },
  );
});

describe("a Python", () => {
  it("that is not there is named, with the way out", async () => {
    const error = await failure("", join(folder, "no-python"));
    expect(error).toBeInstanceOf(UnsupportedModelError);
    expect(error.message).toMatch(
      /no-python cannot be started .*ENOENT.*install Python 3\.9 or newer.*processRuntime\(\{ python/,
    );
  });

  it("that is no Python is named", async () => {
    const error = await failure("", "false");
    expect(error.message).toContain("false ended with code 1");
  });

  it.skipIf(!canInstall)("is used as it is by a model without requirements", async () => {
    const runtime = await opened();
    const { reports } = await prepare(runtime, await bundleOf(""));
    expect(reports).toEqual([
      expect.stringMatching(/^using Python 3\.\d+\.\d+ of .*: the model has no requirements\.txt$/),
    ]);
    expect(await environments()).toEqual([]);
  });

  it.skipIf(!canInstall)(
    "without ensurepip, as Debian's, is named with the package that is missing",
    async () => {
      const python = await copyOfPython(join(folder, "debian"), [
        "ensurepip",
        "site-packages",
        "dist-packages",
      ]);
      const error = await failure("alpha==1.0", python);
      expect(error).toBeInstanceOf(PackageInstallError);
      expect(error.message).toMatch(/cannot make a virtual environment .*apt install python3-venv/);
    },
  );
});

/** A copy of the interpreter whose library lacks some folders. */
async function copyOfPython(prefix: string, without: readonly string[]): Promise<string> {
  const code = "import os, sys; print(os.path.realpath(sys.executable)); print(os.path.dirname(os.__file__))";
  const { stdout } = spawnSync("python3", ["-I", "-c", code], { encoding: "utf8" });
  const [executable = "", library = ""] = stdout.split("\n");
  const copied = join(prefix, "lib", library.slice(library.lastIndexOf("/") + 1));
  await mkdir(copied, { recursive: true });
  for (const name of await readdir(library)) {
    if (!without.includes(name)) await symlink(join(library, name), join(copied, name));
  }
  const python = join(prefix, "bin/python3");
  await mkdir(dirname(python), { recursive: true });
  await copyFile(executable, python);
  await chmod(python, 0o755);
  return python;
}
