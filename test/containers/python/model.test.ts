// Python models: forms, values and arrays in and out, per-row errors, and what cannot be loaded.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Contract, InputType, Manifest } from "../../../containers/protocol.ts";
import { encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import { testLoader } from "../../conformance/loader.ts";
import {
  type BundleOnDisk,
  jsonTensor,
  TestContainer,
  textsOf,
  writeBundle,
} from "../../helpers/container.ts";
import { pythonBundle, pythonFunction, pythonRuns, pythonServer } from "../../helpers/python.ts";

const SERVER = pythonServer();

function started(bundle: BundleOnDisk): Promise<TestContainer> {
  return TestContainer.start(bundle, {}, SERVER);
}

/** What a `predict.py` answers to JSON inputs. */
async function answers(code: string, inputs: readonly unknown[]): Promise<unknown[]> {
  await using bundle = await pythonBundle(code);
  await using container = await started(bundle);
  return await container.predict(inputs);
}

const output = { name: "output", datatype: "BYTES", shape: [], contentType: "json" } as const;

function contractOf(input: Contract["inputs"][number]): Contract {
  return { inputs: [input], outputs: [output], isBatched: true };
}

const INFERENCE = `def load_model(dir_path):
    return "loaded"

def call_model(model, params, task="none"):
    if "fail" in params:
        raise KeyError("fail")
    return {"model": model, "params": params, "task": task}
`;

async function inference(
  tasks: readonly string[],
  inputs: readonly unknown[],
  code?: string,
): Promise<unknown[]> {
  const model = { form: "inference", file: "inference.py", ...(tasks.length === 0 ? {} : { tasks }) };
  const text = code === undefined ? INFERENCE : `${code}\ndef load_model(dir_path): ...\n`;
  await using bundle = await writeBundle(pythonFunction({ model }), { "inference.py": text }, false);
  await using container = await started(bundle);
  return await container.predict(inputs);
}

describe("forms", () => {
  test("load_model of predict.py loads once, from the bundle's folder", async () => {
    await using bundle = await pythonBundle(
      `import os

def load_model(dir):
    print("loading")
    with open(os.path.join(dir, "word.txt")) as file:
        return file.read()

def predict(model, inputs):
    return [model + each for each in inputs]
`,
      {},
      { "word.txt": "hello " },
    );
    await using container = await started(bundle);
    expect(await container.predict(["you"])).toEqual(["hello you"]);
    expect(await container.predict(["all", "!"])).toEqual(["hello all", "hello !"]);
    expect(container.stdout.match(/loading/g)).toHaveLength(1);
  });

  test("predict and load_model may be coroutines", async () => {
    const code = `import asyncio

async def load_model(dir):
    return asyncio.get_running_loop()

async def predict(model, inputs):
    await asyncio.sleep(0)
    return [model is asyncio.get_running_loop(), *inputs[1:]]
`;
    expect(await answers(code, [1, "two"])).toEqual([true, "two"]);
  });

  test("call_model of inference.py gets the params of one query, and the task", async () => {
    expect(await inference(["qa"], [{ question: "who?" }, { fail: 1 }, { task: "mine" }])).toEqual([
      { model: "loaded", params: { question: "who?" }, task: "qa" },
      { code: "MODEL_ERROR", message: "KeyError: 'fail' (inference.py, line 6)" },
      { model: "loaded", params: { task: "mine" }, task: "qa" },
    ]);
    expect(await inference([], [{ x: 1 }])).toEqual([{ model: "loaded", params: { x: 1 }, task: "none" }]);
  });

  test("of several tasks a query names one, and gets the first by default", async () => {
    const [first, named, unknown] = await inference(
      ["qa", "emotion"],
      [{ text: "a" }, { text: "b", task: "emotion" }, { task: "cooking" }],
    );
    expect(first).toMatchObject({ params: { text: "a" }, task: "qa" });
    expect(named).toEqual({ model: "loaded", params: { text: "b" }, task: "emotion" });
    expect(unknown).toMatchObject({
      message: expect.stringContaining("task is 'cooking'; this model has: qa, emotion"),
    });
  });

  async function pickled(
    code: string,
    model: Manifest["model"],
    inputs: readonly unknown[],
  ): Promise<unknown[]> {
    await using bundle = await writeBundle(pythonFunction({ model }), { "shapes.py": SHAPES }, false);
    const path = join(bundle.files, "model.bin");
    execFileSync(
      "python3",
      ["-B", "-c", `import pickle, shapes\npickle.dump(${code}, open(${JSON.stringify(path)}, "wb"))`],
      {
        cwd: bundle.files,
      },
    );
    await using container = await started(bundle);
    return await container.predict(inputs);
  }

  const SHAPES = `class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, inputs, task=None):
        if task is not None:
            return [inputs["x"] * self.factor, task]
        return [each * self.factor for each in inputs]
`;

  test("a pickled callable gets the list, or with tasks the params of one query", async () => {
    const model = { form: "pickle", file: "model.bin" };
    expect(await pickled("shapes.Scale(3)", model, [1, 2])).toEqual([3, 6]);
    expect(await pickled("shapes.Scale(3)", { ...model, tasks: ["qa"] }, [{ x: 1 }, { x: 2 }])).toEqual([
      [3, "qa"],
      [6, "qa"],
    ]);
  });

  test("a pickle that cannot be called is refused", async () => {
    await expect(pickled("[1, 2]", { form: "pickle", file: "model.bin" }, [1])).rejects.toThrow(
      "model.bin holds list, which cannot be called",
    );
  });
});

describe("values", () => {
  const SEEN = `def predict(model, inputs):
    return [[type(each).__name__, each.decode() if isinstance(each, bytes) else each] for each in inputs]
`;

  async function seen(
    inputType: InputType,
    spec: Contract["inputs"][number],
    tensor: Tensor,
  ): Promise<unknown[]> {
    await using bundle = await pythonBundle(SEEN, { inputType, contract: contractOf(spec) });
    await using container = await started(bundle);
    return textsOf((await container.infer([tensor])).outputs.get("output")).map(
      (text) => JSON.parse(text) as unknown,
    );
  }

  const rowKind = pythonRuns("python3", "import numpy") ? "ndarray" : "list";

  test("rows of numbers are arrays where numpy is installed, else lists; also empty ones", async () => {
    const spec = { name: "input", datatype: "FP64", shape: [-1], isRagged: true } as const;
    const rows = [[0.1], [], [1e300, -0.5, 3]];
    const data = encodeBytes(rows.map((row) => new Uint8Array(Float64Array.from(row).buffer)));
    const ragged: Tensor = { name: "input", datatype: "BYTES", shape: [3], data, contentType: "fp64" };
    expect(await seen("doubles", spec, ragged)).toEqual(rows.map((row) => [rowKind, row]));
    const integers = new Uint8Array(Int32Array.of(1, -2, 3, 4).buffer);
    const dense: Tensor = { name: "input", datatype: "INT32", shape: [2, 2], data: integers };
    expect(await seen("integers", { ...spec, datatype: "INT32" }, dense)).toEqual([
      [rowKind, [1, -2]],
      [rowKind, [3, 4]],
    ]);
  });

  test("texts are str, bytes are bytes", async () => {
    const data = encodeBytes([new Uint8Array(0), Buffer.from("grüße"), Buffer.from("a\0b")]);
    for (const [inputType, contentType, kind] of [
      ["strings", "str", "str"],
      ["bytes", "bytes", "bytes"],
    ] as const) {
      const spec = { name: "input", datatype: "BYTES", shape: [], contentType } as const;
      const tensor: Tensor = { name: "input", datatype: "BYTES", shape: [3], data, contentType };
      expect(await seen(inputType, spec, tensor)).toEqual(
        ["", "grüße", "a\0b"].map((value) => [kind, value]),
      );
    }
  });

  test("a row that is not JSON fails alone", async () => {
    await using bundle = await pythonBundle("def predict(model, inputs):\n    return inputs\n");
    await using container = await started(bundle);
    const data = encodeBytes([Buffer.from("1"), Buffer.from("{")]);
    const { outputs, errors } = await container.infer([{ ...jsonTensor("input", [0, 0]), data }]);
    expect(textsOf(outputs.get("output"))[0]).toBe("1");
    expect(errors[0]).toBeUndefined();
    expect(errors[1]).toMatchObject({ code: "MODEL_ERROR", message: expect.stringContaining("is not JSON") });
  });

  const EVALUATE = "def predict(model, inputs):\n    return [eval(each) for each in inputs]\n";

  test("that JSON can hold come through, NaN as null", async () => {
    const codes = {
      None: null,
      "(1, 2.5)": [1, 2.5],
      "{'a': [True], 1: 'ü'}": { a: [true], 1: "ü" },
      "[float('nan'), float('inf'), {'x': float('-inf')}]": [null, null, { x: null }],
      "__import__('array').array('d', [0.5, 2])": [0.5, 2],
      "2 ** 60": 2 ** 60,
    };
    expect(await answers(EVALUATE, Object.keys(codes))).toEqual(Object.values(codes));
  });

  test("that JSON cannot hold fail alone, with the reason", async () => {
    const codes = [
      "{1}",
      "b'x'",
      "object()",
      "print",
      "{(1, 2): 3}",
      "(lambda a: a.append(a) or a)([])",
      "'\\ud800'",
      "7",
    ];
    const got = await answers(EVALUATE, codes);
    expect(got.at(-1)).toBe(7);
    for (const answer of got.slice(0, -1)) expect(answer).toMatchObject({ code: "INVALID_MODEL_OUTPUT" });
    expect((got[0] as { message: string }).message).toBe(
      "predict returned an output that cannot be written as JSON: set is not JSON; return numbers, texts, lists, dicts or arrays",
    );
  });

  test.each([
    ["inputs[1:]", "predict returned 3 outputs for 4 inputs; return one output per input"],
    ["inputs[0]", "predict returned 0 for a list of 4 inputs; return a list with one output per input"],
    ["None", "predict returned None for a list of 4 inputs"],
    ["'abcd'", 'predict returned "abcd" for a list of 4 inputs'],
    ["{'answer': 1}", "predict returned an object (dict) for a list of 4 inputs"],
  ])("%s for a list fails every row", async (code, message) => {
    for (const answer of await answers(`def predict(model, inputs):\n    return ${code}\n`, [0, 1, 2, 3]))
      expect(answer).toEqual({
        code: "INVALID_MODEL_OUTPUT",
        message: expect.stringContaining(message),
        isWrongCount: true,
      });
  });

  test("an input that makes a function return too few outputs fails alone", async () => {
    const code = "def predict(model, inputs):\n    return [x for x in inputs if x != 2]\n";
    expect(await answers(code, [0, 1, 2, 3])).toMatchObject([0, 1, { code: "INVALID_MODEL_OUTPUT" }, 3]);
  });
});

const hasNumpy = pythonRuns("python3", "import numpy");

function floatsOf(tensor: Tensor | undefined): number[] {
  return Array.from(new Float32Array(Uint8Array.from(tensor?.data ?? []).buffer));
}

describe("a function that raises", () => {
  test("is called for halves of a batch until each row was alone, and once for a single row", async () => {
    await using bundle = await pythonBundle(`calls = []

def predict(model, inputs):
    calls.append(len(inputs))
    if "calls" in inputs:
        return [calls]
    raise TypeError("never")
`);
    await using container = await started(bundle);
    expect(await container.predict([1, 2, 3])).toEqual(
      [1, 2, 3].map(() => ({ code: "MODEL_ERROR", message: "TypeError: never (predict.py, line 7)" })),
    );
    await container.predict([1]);
    expect(await container.predict(["calls"])).toEqual([[3, 2, 1, 1, 1, 1, 1]]);
  });

  test("finds one bad row among 64 with 12 calls more", async () => {
    const code = `calls = 0

def predict(model, inputs):
    global calls
    if inputs == ["calls"]:
        return [calls]
    calls += 1
    if 41 in inputs:
        raise ValueError("bad")
    return inputs
`;
    await using bundle = await pythonBundle(code);
    await using container = await started(bundle);
    const got = await container.predict(Array.from({ length: 64 }, (_, row) => row));
    expect(got[41]).toMatchObject({ code: "MODEL_ERROR" });
    expect(got.toSpliced(41, 1)).toEqual(Array.from({ length: 64 }, (_, row) => row).toSpliced(41, 1));
    expect(await container.predict(["calls"])).toEqual([13]);
  });

  test("meets no input that it has changed before, when its halves are tried", async () => {
    const code = `def predict(model, inputs):
    found = [each.pop("x") for each in inputs]
    if None in found:
        raise ValueError("bad")
    return found
`;
    const inputs = [1, 2, null, 3].map((x) => ({ x }));
    expect(await answers(code, inputs)).toMatchObject([1, 2, { code: "MODEL_ERROR" }, 3]);
  });

  test.skipIf(!hasNumpy)("meets no array that it has changed before", async () => {
    const code = `def predict(model, x):
    x *= 2
    if (x < 0).any():
        raise ValueError("bad")
    return x
`;
    const spec = { name: "x", datatype: "FP32", shape: [] } as const;
    const contract: Contract = { inputs: [spec], outputs: [{ ...spec, name: "y" }], isBatched: true };
    await using bundle = await pythonBundle(code, { inputType: "tensor", contract });
    await using container = await started(bundle);
    const data = new Uint8Array(Float32Array.of(1, 2, -1, 3).buffer);
    const { outputs, errors } = await container.infer([{ ...spec, shape: [4], data }]);
    expect(floatsOf(outputs.get("y"))).toEqual([2, 4, 0, 6]);
    expect(errors[2]).toMatchObject({ code: "MODEL_ERROR" });
  });

  test("names file and line of the model's own code, however deep in libraries, and logs the traceback", async () => {
    const code = `import json

def predict(model, inputs):
    return [parsed(each) for each in inputs]

def parsed(text):
    return json.loads(text)
`;
    await using bundle = await pythonBundle(code);
    await using container = await started(bundle);
    expect(await container.predict(["{"])).toEqual([
      {
        code: "MODEL_ERROR",
        message: expect.stringMatching(/^JSONDecodeError: .* \(predict\.py, line 7\)$/),
      },
    ]);
    expect(container.stderr).toMatch(
      /predict: Traceback[\s\S]*predict\.py", line 4, in [\s\S]*json\/decoder\.py/,
    );
    expect(container.stderr).not.toContain("windjammer_server/");
  });
});

describe("bundles that cannot be loaded", () => {
  test.each<[string, RegExp]>([
    [
      "def other(): ...\nthird = 3\n",
      /windjammer: predict\.py has no function predict; its functions are: other$/,
    ],
    ["predict = 42\n", /windjammer: predict in predict\.py is int, not a function$/],
    ["def predict(:\n", /windjammer: cannot load predict\.py: SyntaxError: .*\(predict\.py, line 1\)$/],
    [
      "import not_installed\n",
      /windjammer: cannot load predict\.py: ModuleNotFoundError: No module named 'not_installed' \(predict\.py, line 1\); add what it comes from to requirements\.txt/,
    ],
    [
      "def predict(model, inputs): ...\ndef load_model(dir):\n    open(dir + '/gone')\n",
      /windjammer: cannot load load_model of predict\.py: FileNotFoundError: .* \(predict\.py, line 3\); files of the model lie in the folder that load_model gets, not in the current one$/,
    ],
    [
      "\ndef predict(inputs): ...\n",
      /windjammer: predict in predict\.py, line 2, is predict\(inputs\), and is called as predict\(model, inputs\)$/,
    ],
    [
      "def predict(model, inputs): ...\ndef load_model(): ...\n",
      /windjammer: load_model in predict\.py, line 2, is load_model\(\), and is called as load_model\(dir\)$/,
    ],
    ["raise SystemExit(3)\n", /windjammer: the model called sys\.exit\(3\)$/],
  ])("say why: %j", async (code, message) => {
    await using bundle = await pythonBundle(code);
    await using container = TestContainer.spawn(bundle, {}, SERVER);
    expect((await container.exited).code).toBeGreaterThan(0);
    expect(container.stderr.trim().split("\n").at(-1)).toMatch(message);
    expect(container.stderr).not.toContain("windjammer_server/");
  });

  test("tell which task is missing", async () => {
    await expect(inference([], [{}], "def call_model(model, params, task): ...")).rejects.toThrow(
      "call_model in inference.py, line 1, needs a task, and the model has none: name them in config.json",
    );
    await expect(inference(["qa"], [{}], "def call_model(model, params): ...")).rejects.toThrow(
      "is call_model(model, params), and is called as call_model(model, params, task=…)",
    );
  });
});

testLoader({
  name: "python",
  modelFile: "predict.py",
  count: 5,
  badCode: "MODEL_ERROR",
  badMessage: /^ValueError: cannot double "bad" \(predict\.py, line 4\)$/,
  command: SERVER,
  bundle: () =>
    pythonBundle(`def predict(model, inputs):
    for value in inputs:
        if value == "bad":
            raise ValueError('cannot double "bad"')
    return [{"doubled": value * 2} for value in inputs]
`),
  tensors: (rows) => [jsonTensor("input", rows)],
  expectAnswer(result, row, input) {
    expect(JSON.parse(textsOf(result.outputs.get("output"))[row] ?? "")).toEqual({ doubled: input * 2 });
  },
});
