// Bundles as folders: the hash depends on the content alone, the tar is deterministic, the manifest is checked.
import { chmod, link, mkdir, symlink, utimes, writeFile } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  MANIFEST_FILE,
  type JsonValue,
  type Manifest,
  type TensorSpec,
} from "../../../containers/protocol.ts";
import { hashFolder, manifestSchema, packFolder, readManifest } from "../../../core/deploy/bundle.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import { isInside } from "../../../core/deploy/manifest-schema.ts";
import { InvalidBundleError } from "../../../core/errors.ts";
import { tempFolder } from "../../helpers/temp.ts";

const VALID: Manifest = manifest({
  deployer: "onnx",
  loader: "onnx",
  inputType: "tensor",
  contract: {
    inputs: [{ name: "image", datatype: "FP32", shape: [1, 28, -1] }],
    outputs: [{ name: "scores", datatype: "FP32", shape: [10] }],
    isBatched: true,
    maxBatchSize: 64,
  },
  packages: { "onnxruntime-node": "1.30.0", "@scope/x": "1.2.3-beta.1+build.5" },
  allowScripts: { "onnxruntime-node": false },
  environment: { TZ: "UTC" },
  model: { file: "model.onnx", labels: ["/m/01g317", "../x"], processing: { file: "lib/processing.mjs" } },
  notes: ["one output is left out"],
});

async function folderWith(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const folder = await tempFolder("wj-bundle-");
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

/** A manifest with something at `path` replaced. */
function withValue(path: readonly string[], value: unknown): unknown {
  const changed: Record<string, unknown> = structuredClone({ ...VALID });
  let inner = changed;
  for (const key of path.slice(0, -1)) inner = inner[key] as Record<string, unknown>;
  Object.defineProperty(inner, path.at(-1) ?? "", { value, enumerable: true });
  return changed;
}

async function refusal(value: unknown): Promise<string> {
  const folder = await folderWith({
    [MANIFEST_FILE]: typeof value === "string" ? value : JSON.stringify(value),
    "model.onnx": "",
    "lib/processing.mjs": "",
  });
  const error: unknown = await readManifest(folder).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(InvalidBundleError);
  return String(error);
}

describe("the hash of a folder", () => {
  test("is the same whatever order, times and empty folders there are", async () => {
    const a = await folderWith({ "b.txt": "b", "a/x": "x", "a/é": "é", "a.txt": "" });
    const b = await folderWith({ "a.txt": "", "a/é": "é", "a/x": "x", "b.txt": "b" });
    await utimes(join(b, "b.txt"), 1, 1);
    await mkdir(join(b, "empty", "folder"), { recursive: true });
    expect(await hashFolder(a)).toBe(await hashFolder(b));
    expect(await hashFolder(a)).toMatch(/^[0-9a-f]{64}$/u);
  });

  test("changes with a byte, a name, the executable bit, and how content is split over files", async () => {
    const hashes = new Set<string>();
    hashes.add(await hashFolder(await folderWith({ a: "12", b: "3" })));
    hashes.add(await hashFolder(await folderWith({ a: "1", b: "23" })));
    hashes.add(await hashFolder(await folderWith({ a: "12", c: "3" })));
    hashes.add(await hashFolder(await folderWith({ "a/b": "123" })));
    hashes.add(await hashFolder(await folderWith({ a: "12", b: "3", c: "" })));
    const executable = await folderWith({ a: "12", b: "3" });
    await chmod(join(executable, "a"), 0o755);
    hashes.add(await hashFolder(executable));
    expect(hashes.size).toBe(6);
  });

  test("does not tell read permissions apart", async () => {
    const folder = await folderWith({ a: "1" });
    const before = await hashFolder(folder);
    await chmod(join(folder, "a"), 0o600);
    expect(await hashFolder(folder)).toBe(before);
  });

  test("takes a hard link for the file it is", async () => {
    const folder = await folderWith({ a: "1" });
    await link(join(folder, "a"), join(folder, "b"));
    expect(await hashFolder(folder)).toBe(await hashFolder(await folderWith({ a: "1", b: "1" })));
  });

  test("refuses symbolic links and special files, naming them", async () => {
    const linked = await folderWith({ a: "1" });
    await symlink("/etc/passwd", join(linked, "secrets"));
    await expect(hashFolder(linked)).rejects.toThrow(InvalidBundleError);
    await expect(hashFolder(linked)).rejects.toThrow(/a symbolic link at secrets; put a file there/u);
    await expect(buffer(packFolder(linked))).rejects.toThrow(InvalidBundleError);

    const piped = await folderWith({ "sub/a": "1" });
    expect(spawnSync("mkfifo", [join(piped, "sub", "pipe")]).status).toBe(0);
    await expect(hashFolder(piped)).rejects.toThrow(/a special file at sub\/pipe/u);
  });
});

describe("the tar of a folder", () => {
  test("is byte for byte the same for the same content", async () => {
    const a = await folderWith({ b: "2", "a/x": "1", "a/y/z": "3" });
    const b = await folderWith({ "a/y/z": "3", "a/x": "1", b: "2" });
    await utimes(join(b, "b"), 1, 1);
    await chmod(join(b, "b"), 0o600);
    expect((await buffer(packFolder(a))).equals(await buffer(packFolder(b)))).toBe(true);
  });

  test("holds files in order, without owners and times, as other tar programs read it", async () => {
    const folder = await folderWith({ b: "2", [`long/${"x".repeat(150)}`]: "1", "run.sh": "", "é/ש": "3" });
    await chmod(join(folder, "run.sh"), 0o700);
    const listing = spawnSync("tar", ["--list", "--verbose", "--numeric-owner", "--file", "-"], {
      input: await buffer(packFolder(folder)),
      env: { ...process.env, TZ: "UTC", LC_ALL: "C.UTF-8" },
      encoding: "utf8",
    });
    expect(listing.stderr).toBe("");
    expect(
      listing.stdout
        .trim()
        .split("\n")
        .map((line) => line.replaceAll(/\s+/gu, " ")),
    ).toEqual([
      "-rw-r--r-- 0/0 1 1970-01-01 00:00 b",
      `-rw-r--r-- 0/0 1 1970-01-01 00:00 long/${"x".repeat(150)}`,
      "-rwxr-xr-x 0/0 0 1970-01-01 00:00 run.sh",
      expect.stringContaining("-rw-r--r-- 0/0 1 1970-01-01 00:00 "),
    ]);
  });

  test("of an empty or missing folder fails", async () => {
    await expect(buffer(packFolder(await tempFolder()))).rejects.toThrow(
      /is empty; it needs a manifest.json/u,
    );
    await expect(buffer(packFolder("/nowhere/at/all"))).rejects.toThrow(/ENOENT/u);
  });

  test("can be given up half-way", async () => {
    const stream = packFolder(await folderWith({ a: Buffer.alloc(2_000_000) }));
    for await (const chunk of stream) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(stream.destroyed).toBe(true);
  });
});

describe("a manifest", () => {
  test("that is right passes unchanged", () => {
    expect(manifestSchema.parse(VALID)).toEqual(VALID);
  });

  const image: TensorSpec = { name: "image", datatype: "FP32", shape: [] };

  test.each<[readonly string[], unknown, RegExp]>([
    [["format"], 2, /format: expected 1; a bundle of another format needs another release/u],
    [["formats"], 2, /unknown field 'formats'; did you mean 'format'/u],
    [["deployer"], "", /deployer/u],
    [["loader"], "../../etc", /loader: expected a loader's name/u],
    [["inputType"], "double", /inputType: .*got "double"/u],
    [
      ["packages", "lodash"],
      "^4.17.21",
      /packages\.lodash: expected an exact version of package lodash.*got "\^4\.17\.21"/u,
    ],
    [["packages", "lodash"], "latest", /package lodash/u],
    [["packages", "lodash"], "4.17", /package lodash/u],
    [["packages", "lodash"], "git+https://x/y.git", /package lodash/u],
    [["packages", "lodash"], "1.2.3 || 4.5.6", /package lodash/u],
    [["packages", "lodash"], "01.2.3", /package lodash/u],
    [["packages", "lodash"], "1.2.3\n", /package lodash/u],
    [["packages", "lodash"], 4, /packages\.lodash: expected string, got 4/u],
    [["packages", "--global"], "1.0.0", /package name of npm, not "--global"/u],
    [["packages", "@a/-x"], "1.0.0", /package name/u],
    [["packages", "../x"], "1.0.0", /package name/u],
    [["packages", "x y"], "1.0.0", /package name/u],
    [["packages", "x;reboot"], "1.0.0", /package name/u],
    [["packages", "@x/y/z"], "1.0.0", /package name/u],
    [["packages", "a".repeat(215)], "1.0.0", /package name/u],
    [["allowScripts", ".hidden"], true, /package name/u],
    [["environment", "lower"], "x", /environment\.lower: expected a variable name/u],
    [["environment", "1A"], "x", /variable name/u],
    [["environment", "WINDJAMMER_SOCKET"], "x", /WINDJAMMER_SOCKET: expected another variable/u],
    [["environment", "WINDJAMMER_NEW"], "x", /set by Windjammer/u],
    [["environment", "PORT"], "1", /set by Windjammer/u],
    [["environment", "A"], "x\0y", /without NUL/u],
    [["contract", "inputs"], [], /contract\.inputs/u],
    [
      ["contract", "inputs"],
      [image, image],
      /contract\.inputs\[1\]\.name: expected a name that is used once, got "image"/u,
    ],
    [["contract", "inputs"], [{ ...image, shape: [-2] }], /contract\.inputs\[0\]\.shape\[0\]: .*got -2/u],
    [["contract", "inputs"], [{ ...image, shape: [1.5] }], /shape\[0\]/u],
    [["contract", "inputs"], [{ ...image, datatype: "FLOAT" }], /datatype/u],
    [
      ["contract", "inputs"],
      [{ ...image, contentType: "json" }],
      /contentType: expected none: the datatype is FP32/u,
    ],
    [["contract", "inputs"], [{ ...image, datatype: "BYTES", contentType: "error" }], /contentType/u],
    [["contract", "inputs"], [{ ...image, isRagged: true }], /isRagged: expected it only with shape \[-1\]/u],
    [["contract", "outputs"], [{ ...image, name: "windjammer_errors" }], /this one carries errors/u],
    [["contract", "maxBatchSize"], 0, /maxBatchSize/u],
    [["contract", "extra"], 0, /contract: unknown field 'extra'/u],
    [
      ["model", "file"],
      "/etc/passwd",
      /model\.file: expected the name of a file in the bundle.*got "\/etc\/passwd"/u,
    ],
    [["model", "file"], "../other/model.onnx", /model\.file: expected/u],
    [["model", "file"], "a/../../b", /model\.file: expected/u],
    [["model", "file"], "c:\\model", /model\.file: expected/u],
    [["model", "file"], "", /model\.file: expected/u],
    [["model", "processing"], { file: "../x" }, /model\.processing\.file: expected/u],
    [["model", "weightsFiles"], ["model.onnx", "../x"], /model\.weightsFiles\[1\]: expected/u],
    [
      ["model", "file"],
      "missing.onnx",
      /names "missing.onnx" in model\.file, but the bundle has no such file/u,
    ],
    [["model", "file"], "lib", /has no such file/u],
    [["notes"], ["x", 1], /notes\[1\]: expected string, got 1/u],
  ])("with %j as %j is refused", async (path, value, message) => {
    expect(await refusal(withValue(path, value))).toMatch(message);
  });

  test("that misses a field, is no object, no JSON, or too deep or large is refused", async () => {
    expect(await refusal({ ...VALID, contract: undefined })).toMatch(
      /contract: expected object, got nothing/u,
    );
    expect(await refusal([])).toMatch(/expected object/u);
    expect(await refusal("{")).toMatch(/not JSON/u);
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    expect(await refusal(`{"model":${deep}}`)).toMatch(/nested deeper than 64 levels; flatten it/u);
    expect(await refusal(`"${"x".repeat(9_000_000)}"`)).toMatch(/9000002 bytes, the limit is 8388608/u);
  });

  test("cannot smuggle a key past the checks", async () => {
    const text = JSON.stringify(VALID).replace('"packages":{', '"packages":{"__proto__":"; reboot",');
    const parsed = manifestSchema.safeParse(JSON.parse(text));
    expect(parsed.success && Object.hasOwn(parsed.data.packages, "__proto__")).toBe(false);
  });

  test("is read with the files it names", async () => {
    const folder = await folderWith({
      [MANIFEST_FILE]: JSON.stringify(VALID),
      "model.onnx": "",
      "lib/processing.mjs": "",
    });
    expect(await readManifest(folder)).toEqual(VALID);
  });

  test("that is missing is said", async () => {
    await expect(readManifest(await tempFolder())).rejects.toThrow(/no manifest\.json at its root; add it/u);
    const folder = await tempFolder();
    await mkdir(join(folder, MANIFEST_FILE));
    await expect(readManifest(folder)).rejects.toThrow(/no manifest\.json at its root/u);
  });

  test("never lets a file name lead outside, whatever it is made of", () => {
    const part = fc.constantFrom("..", ".", "a", "", "/", "\\", "\0", "...", "é");
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 8 }).map((parts) => parts.join("/")),
        (name) => {
          if (isInside(name)) expect(join("/bundle", name)).toMatch(/^\/bundle\/[^/]/u);
        },
      ),
    );
  });

  test("keeps any JSON in model and in texts", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const given = { ...VALID, model: { settings: value as JsonValue } };
        expect(manifestSchema.parse(given).model).toEqual(given.model);
      }),
      { numRuns: 50 },
    );
  });
});
