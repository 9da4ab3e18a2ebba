// The Python deployer: bundles, without running Python.
import { mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Manifest } from "../../core/index.ts";
import { testDeployer } from "../../test/conformance/deployer.ts";
import { pythonCase } from "../../test/helpers/deployer-cases.ts";
import { writeFiles } from "../../test/helpers/project.ts";
import { tempFolder } from "../../test/helpers/temp.ts";
import { zipOf, type ZipEntry } from "../../test/helpers/zip.ts";
import { python, type PythonOptions } from "./index.ts";

testDeployer(pythonCase);

const PREDICT = "def predict(model, inputs):\n    return inputs\n";

interface Bundled {
  readonly manifest: Manifest;
  readonly files: readonly string[];
  readonly text: (name: string) => Promise<string>;
}

async function bundle(options: PythonOptions): Promise<Bundled> {
  const folder = await tempFolder("wj-bundle-");
  const manifest = await python.bundle(options, folder, () => {});
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((each) => each.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return {
    manifest,
    files: files.map((file) => file.slice(folder.length + 1)).toSorted(),
    text: (name) => readFile(join(folder, name), "utf8"),
  };
}

async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await tempFolder();
  await writeFiles(folder, files);
  return folder;
}

async function fromFolder(
  files: Readonly<Record<string, string>>,
  options: PythonOptions = {},
): Promise<Bundled> {
  return bundle({ folder: await folderOf(files), ...options });
}

async function fromZip(entries: readonly ZipEntry[]): Promise<Bundled> {
  const path = join(await tempFolder(), "model.zip");
  await writeFile(path, zipOf(entries));
  return bundle({ zip: path });
}

describe("a folder", () => {
  it("with predict.py takes and gives JSON", async () => {
    const { manifest, files } = await fromFolder({ "predict.py": PREDICT, "weights/a.bin": "1" });
    expect(files).toEqual(["predict.py", "weights/a.bin"]);
    expect(manifest).toMatchObject({
      loader: "python",
      container: { kind: "python" },
      inputType: "json",
      packages: {},
      model: { form: "predict", file: "predict.py" },
      contract: { isBatched: true, outputs: [{ name: "output", contentType: "json" }] },
    });
  });

  it("leaves out what tools and environments left in it", async () => {
    const { files } = await fromFolder({
      "predict.py": PREDICT,
      "__pycache__/predict.cpython-311.pyc": "",
      ".git/HEAD": "",
      "lib/__pycache__/a.pyc": "",
      "lib/a.py": "",
      ".venv/pyvenv.cfg": "",
      "venv/bin/python": "",
      ".DS_Store": "",
    });
    expect(files).toEqual(["lib/a.py", "predict.py"]);
  });

  it("has its requirements in one form, whatever stands around them", async () => {
    const { text } = await fromFolder({
      "predict.py": PREDICT,
      "requirements.txt": "# mine\r\nnumpy == 2.4.6 # arrays\r\n\r\nsix==1.16.0",
    });
    expect(await text("requirements.txt")).toBe("numpy==2.4.6\nsix==1.16.0\n");
  });

  it("without exact versions is refused, with the line and the way out", async () => {
    await expect(
      fromFolder({ "predict.py": PREDICT, "requirements.txt": "numpy\nsix==1.16.0\n" }),
    ).rejects.toThrow(
      /requirements\.txt in .*: line 1: "numpy" needs an exact version, such as numpy==1\.2\.3/,
    );
  });

  it("declares tensors in contract.json, and options count before them", async () => {
    const contract = {
      inputs: [{ name: "x", datatype: "FP32", shape: [4] }],
      outputs: [{ name: "label", datatype: "BYTES" }],
      maxBatchSize: 64,
    };
    const files = { "predict.py": PREDICT, "contract.json": JSON.stringify(contract) };
    const { manifest } = await fromFolder(files, { maxBatchSize: 8 });
    expect(manifest.inputType).toBe("tensor");
    expect(manifest.contract).toEqual({
      inputs: [{ name: "x", datatype: "FP32", shape: [4] }],
      outputs: [{ name: "label", datatype: "BYTES", shape: [], contentType: "str" }],
      isBatched: true,
      maxBatchSize: 8,
    });
    expect(manifest.notes.join()).toContain("does not name numpy");
  });

  it.each([
    ["{", "contract.json in"],
    ['{"inputs": []}', "inputs"],
    ['{"input": 1}', "input"],
    ['{"inputType": "tensor"}', "needs inputs"],
  ])("with the contract %s is refused", async (text, message) => {
    await expect(fromFolder({ "predict.py": PREDICT, "contract.json": text })).rejects.toThrow(message);
  });

  it("of Backprop has the tasks of its config.json", async () => {
    const code = "def load_model(dir_path): ...\ndef call_model(model, params, task): ...\n";
    const config = JSON.stringify({ description: "mine", tasks: ["qa", "text-classification"] });
    const { manifest } = await fromFolder({ "inference.py": code, "config.json": config });
    expect(manifest.model).toEqual({
      form: "inference",
      file: "inference.py",
      tasks: ["qa", "text-classification"],
    });
    const wrong = fromFolder({ "inference.py": code, "config.json": '{"tasks": "qa"}' });
    await expect(wrong).rejects.toThrow(/config\.json in .*tasks/s);
  });

  it("with a pickle says that it is code", async () => {
    const { manifest } = await fromFolder({ "model.bin": "not looked at here" });
    expect(manifest.model).toEqual({ form: "pickle", file: "model.bin" });
    expect(manifest.notes.join()).toContain("loaded in the model container only");
  });

  it("beside whose predict.py lies a model.bin has that as its data", async () => {
    const { manifest } = await fromFolder({ "predict.py": PREDICT, "model.bin": "" });
    expect(manifest.model["form"]).toBe("predict");
  });

  it("without an entry file is refused, with what there is", async () => {
    await expect(fromFolder({ "main.py": PREDICT })).rejects.toThrow(
      /neither predict\.py .* nor inference\.py .* nor model\.bin .*; it has main\.py/,
    );
  });

  it.each([
    ["def predictions(model, inputs): ...\ndef other(): ...", "predictions, other"],
    ["# def predict(model, inputs)", "(none)"],
    ['"""\ndef predict(model, inputs): ...\n"""', "(none)"],
    ["model.predict = 1", "(none)"],
  ])("whose predict.py is %j is refused", async (code, known) => {
    await expect(fromFolder({ "predict.py": code })).rejects.toThrow(
      `has no function predict; its functions are: ${known}`,
    );
  });

  it.each([
    "async def predict(model, inputs): ...",
    "predict = lambda model, inputs: inputs",
    "predict: object = make()",
    "from lib import (\n  load_model,\n  predict,\n)",
    "from lib import *",
    "if True:\n    def predict(model, inputs): ...",
    "class predict: ...",
    "globals()['predict'] = print",
  ])("whose predict.py is %j is taken", async (code) => {
    expect((await fromFolder({ "predict.py": code })).manifest.model["form"]).toBe("predict");
  });

  it("takes a link to a file as the file, and refuses one to a folder", async () => {
    const folder = await folderOf({ "predict.py": PREDICT });
    const data = await folderOf({ "weights.bin": "numbers" });
    await symlink(join(data, "weights.bin"), join(folder, "weights.bin"));
    expect(await (await bundle({ folder })).text("weights.bin")).toBe("numbers");
    await symlink(data, join(folder, "data"));
    await expect(bundle({ folder })).rejects.toThrow("data in");
  });

  it("that is a file, or has a manifest.json, is refused", async () => {
    const folder = await folderOf({ "predict.py": PREDICT, "manifest.json": "{}" });
    await expect(bundle({ folder })).rejects.toThrow("rename yours");
    await expect(bundle({ folder: join(folder, "predict.py") })).rejects.toThrow("is a file");
  });
});

describe("a zip", () => {
  const predict: ZipEntry = { name: "predict.py", data: PREDICT };

  it("gives the bundle of the folder that it holds, with that folder around it or without", async () => {
    const folder = await tempFolder();
    await mkdir(join(folder, "weights"));
    await writeFile(join(folder, "predict.py"), PREDICT);
    await writeFile(join(folder, "weights/a.bin"), "aaaaaaaaaa");
    const weights: ZipEntry = { name: "weights/a.bin", data: "aaaaaaaaaa", isStored: true };
    const plain = await fromZip([predict, { name: "weights/", data: "" }, weights]);
    const within = await fromZip([
      { ...predict, name: "model/predict.py" },
      { ...weights, name: "model/weights/a.bin" },
      { name: "__MACOSX/model/._predict.py", data: "left out" },
    ]);
    const loose = await bundle({ folder });
    expect(plain.files).toEqual(loose.files);
    expect(within.files).toEqual(loose.files);
    expect(plain.manifest).toEqual(loose.manifest);
    expect(await within.text("weights/a.bin")).toBe("aaaaaaaaaa");
  });

  it.each<[string, readonly ZipEntry[], RegExp]>([
    [
      "a path outside",
      [predict, { name: "../evil.py", data: "" }],
      /no zip that can be read: invalid relative path/,
    ],
    [
      "an absolute path",
      [predict, { name: "/etc/evil", data: "" }],
      /no zip that can be read: absolute path/,
    ],
    [
      "a backslash",
      [predict, { name: "..\\evil.py", data: "" }],
      /no zip that can be read: invalid characters/,
    ],
    ["a link", [predict, { name: "link", data: "/etc/passwd", mode: 0o120_777 }], /"link" is a link/],
    ["a name twice", [predict, predict], /"predict\.py" twice/],
    ["a password", [predict, { name: "x", data: "", flags: 1 }], /"x" is encrypted/],
    [
      "a file that inflates to more than it says",
      [{ ...predict, data: "x".repeat(1000), size: 10 }],
      /predict\.py.* no zip that can be read/,
    ],
    [
      "more bytes than any model",
      [
        predict,
        { name: "bomb", data: "", size: 6 * 2 ** 30 - 2 ** 32 },
        { name: "bomb2", data: "", size: 2 ** 32 - 2 },
      ],
      /more than \d+ bytes/,
    ],
    [
      "too many files",
      Array.from({ length: 10_001 }, (_, index) => ({ name: `${index}`, data: "" })),
      /more than 10000 files/,
    ],
  ])("with %s is refused", async (_, entries, message) => {
    await expect(fromZip(entries)).rejects.toThrow(message);
  });

  it("that is none, or is not there, is refused", async () => {
    const path = join(await tempFolder(), "model.zip");
    await writeFile(path, "not a zip");
    await expect(bundle({ zip: path })).rejects.toThrow(/no zip that can be read/);
    await expect(bundle({ zip: `${path}.gone` })).rejects.toThrow(/does not exist/);
    const cut = zipOf([predict]);
    await writeFile(path, cut.subarray(0, cut.length - 10));
    await expect(bundle({ zip: path })).rejects.toThrow(/no zip that can be read/);
  });
});
