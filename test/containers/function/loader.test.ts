// The function loader: values in, JSON out, and what bad functions get.
import { describe, expect, test } from "vitest";
import type { Contract, InputType } from "../../../containers/protocol.ts";
import { encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import { testLoader } from "../../conformance/loader.ts";
import { functionBundle, jsonTensor, TestContainer, textsOf } from "../../helpers/container.ts";

testLoader({
  name: "function",
  modelFile: "function.mjs",
  count: 5,
  badCode: "MODEL_ERROR",
  badMessage: /^RangeError: cannot double "bad"$/,
  bundle: () =>
    functionBundle(`export async function predict(inputs) {
      return inputs.map((value) => {
        if (value === "bad") throw new RangeError('cannot double "bad"');
        return { doubled: value * 2 };
      });
    }`),
  tensors: (rows) => [jsonTensor("input", rows)],
  expectAnswer(result, row, input) {
    expect(JSON.parse(textsOf(result.outputs.get("output"))[row] ?? "")).toEqual({ doubled: input * 2 });
  },
});

const output = { name: "output", datatype: "BYTES", shape: [], contentType: "json" } as const;

function contractOf(input: Contract["inputs"][number]): Contract {
  return { inputs: [input], outputs: [output], isBatched: true };
}

/** What `typeof` and JSON say of each input. */
const SEEN = `export const predict = (inputs) => inputs.map((value) => ({
  kind: Array.isArray(value) ? "array" : value?.constructor?.name ?? String(value), value: typeof value === "object" && !Array.isArray(value) ? String(value) : value }));`;

async function seen(
  inputType: InputType,
  spec: Contract["inputs"][number],
  tensor: Tensor,
): Promise<unknown[]> {
  await using bundle = await functionBundle(SEEN, { inputType, contract: contractOf(spec) });
  await using container = await TestContainer.start(bundle);
  return textsOf((await container.infer([tensor])).outputs.get("output")).map(
    (text) => JSON.parse(text) as unknown,
  );
}

describe("inputs reach the function as plain values", () => {
  const ragged = { name: "input", shape: [-1], isRagged: true } as const;

  test("equal rows of integers as number arrays", async () => {
    const data = new Uint8Array(Int32Array.of(1, -2, 3, 4).buffer);
    const tensor: Tensor = { name: "input", datatype: "INT32", shape: [2, 2], data };
    expect(await seen("integers", { ...ragged, datatype: "INT32" }, tensor)).toEqual([
      { kind: "array", value: [1, -2] },
      { kind: "array", value: [3, 4] },
    ]);
  });

  test("rows of doubles of different lengths as number arrays, also empty ones", async () => {
    const rows = [[0.1], [], [1e300, -0.5, 3]];
    const data = encodeBytes(rows.map((row) => new Uint8Array(Float64Array.from(row).buffer)));
    const tensor: Tensor = { name: "input", datatype: "BYTES", shape: [3], data, contentType: "fp64" };
    expect(await seen("doubles", { ...ragged, datatype: "FP64" }, tensor)).toEqual(
      rows.map((value) => ({ kind: "array", value })),
    );
  });

  test("text as strings", async () => {
    const data = encodeBytes(["", "grüße", "a\0b"].map((text) => Buffer.from(text)));
    const spec = { name: "input", datatype: "BYTES", shape: [], contentType: "str" } as const;
    const tensor: Tensor = { name: "input", datatype: "BYTES", shape: [3], data, contentType: "str" };
    expect(await seen("strings", spec, tensor)).toEqual(
      ["", "grüße", "a\0b"].map((value) => ({ kind: "String", value })),
    );
  });

  test("bytes as buffers", async () => {
    const data = encodeBytes([Buffer.from("ab"), new Uint8Array(0)]);
    const spec = { name: "input", datatype: "BYTES", shape: [], contentType: "bytes" } as const;
    const tensor: Tensor = { name: "input", datatype: "BYTES", shape: [2], data, contentType: "bytes" };
    expect(await seen("bytes", spec, tensor)).toEqual([
      { kind: "Buffer", value: "ab" },
      { kind: "Buffer", value: "" },
    ]);
  });

  test("a row that is not JSON fails alone", async () => {
    await using bundle = await functionBundle("export const predict = (inputs) => inputs;");
    await using container = await TestContainer.start(bundle);
    const data = encodeBytes([Buffer.from("1"), Buffer.from("{")]);
    const { outputs, errors } = await container.infer([{ ...jsonTensor("input", [0, 0]), data }]);
    expect(textsOf(outputs.get("output"))[0]).toBe("1");
    expect(errors[0]).toBeUndefined();
    expect(errors[1]).toMatchObject({ code: "MODEL_ERROR", message: expect.stringContaining("is not JSON") });
  });
});

describe("outputs that cannot be answers", () => {
  // Each input is JavaScript that the function evaluates to its output.
  const EVALUATE = "export const predict = (inputs) => inputs.map((code) => (0, eval)(code));";

  test("fail alone, with the reason", async () => {
    await using bundle = await functionBundle(EVALUATE);
    await using container = await TestContainer.start(bundle);
    const codes = [
      "undefined",
      "() => 1",
      "Symbol('x')",
      "10n",
      "({ id: 10n })",
      "const a = {}; a.a = a; a",
      "({ toJSON() { throw new Error('no') } })",
      "({ toJSON() {} })",
      "7",
    ];
    const answers = await container.predict(codes);
    expect(answers.at(-1)).toBe(7);
    for (const answer of answers.slice(0, -1)) expect(answer).toMatchObject({ code: "INVALID_MODEL_OUTPUT" });
    const messages = answers.slice(0, -1).map((answer) => (answer as { message: string }).message);
    expect(messages[0]).toBe("predict returned undefined for this input; return a JSON value");
    expect(messages[1]).toContain("a function");
    expect(messages[2]).toContain("a symbol");
    expect(messages[3]).toContain("BigInt");
    expect(messages[4]).toContain("BigInt");
    expect(messages[5]).toContain("circular");
    expect(messages[6]).toContain("no");
  });

  test("values that JSON can hold come through as they are", async () => {
    await using bundle = await functionBundle(EVALUATE);
    await using container = await TestContainer.start(bundle);
    const codes = {
      null: null,
      "Float32Array.of(0.5, 2)": [0.5, 2],
      "({ scores: Int32Array.of(1, 2), nested: [Uint8Array.of(3)] })": { scores: [1, 2], nested: [[3]] },
      "Buffer.from('A')": [65],
      "[NaN, Infinity]": [null, null],
      "new Date(0)": "1970-01-01T00:00:00.000Z",
      "'ü'": "ü",
    };
    expect(await container.predict(Object.keys(codes))).toEqual(Object.values(codes));
  });

  test.each([
    ["inputs.slice(1)", "predict returned 3 outputs for 4 inputs; return one output per input"],
    ["inputs[0]", "predict returned 0 for a list of 4 inputs; return a list with one output per input"],
    ["undefined", "predict returned undefined for a list of 4 inputs"],
    ["'abcd'", 'predict returned "abcd" for a list of 4 inputs'],
    ["({ answer: 1 })", "predict returned an object (Object) for a list of 4 inputs"],
  ])("a function that returns %s fails every row", async (code, message) => {
    await using bundle = await functionBundle(`export const predict = (inputs) => ${code};`);
    await using container = await TestContainer.start(bundle);
    for (const answer of await container.predict([0, 1, 2, 3]))
      expect(answer).toEqual({
        code: "INVALID_MODEL_OUTPUT",
        message: expect.stringContaining(message),
        isWrongCount: true,
      });
  });

  test("an input that makes a function return too few outputs fails alone", async () => {
    await using bundle = await functionBundle(
      "export const predict = (inputs) => inputs.filter((x) => x !== 2);",
    );
    await using container = await TestContainer.start(bundle);
    const answers = await container.predict([0, 1, 2, 3]);
    expect(answers).toMatchObject([0, 1, { code: "INVALID_MODEL_OUTPUT" }, 3]);
  });

  test("an export that is no function is named by what it is", async () => {
    await using bundle = await functionBundle("export const predict = 42;");
    await expect(TestContainer.start(bundle)).rejects.toThrow(
      'the export "predict" of the module is 42, not a function',
    );
  });

  test("a typed array is a list of outputs", async () => {
    await using bundle = await functionBundle(
      "export const predict = (inputs) => Float64Array.from(inputs);",
    );
    await using container = await TestContainer.start(bundle);
    expect(await container.predict([1.5, 2])).toEqual([1.5, 2]);
  });
});

describe("a function that throws", () => {
  test("is called for halves of a batch until each row was alone, and once for a single row", async () => {
    await using bundle = await functionBundle(`const calls = [];
      export const predict = (inputs) => {
        calls.push(inputs.length);
        if (inputs.includes("calls")) return inputs.map(() => calls);
        throw new TypeError("never");
      };`);
    await using container = await TestContainer.start(bundle);
    expect(await container.predict([1, 2, 3])).toEqual(
      [1, 2, 3].map(() => ({ code: "MODEL_ERROR", message: "TypeError: never" })),
    );
    await container.predict([1]);
    expect(await container.predict(["calls"])).toEqual([[3, 2, 1, 1, 1, 1, 1]]);
  });

  test("meets no input that it has changed before, when its halves are tried", async () => {
    await using bundle = await functionBundle(`export const predict = (inputs) => {
      const taken = inputs.map((input) => input.list.pop() ?? "changed before");
      if (taken.includes("bad")) throw new Error("bad");
      return taken;
    };`);
    await using container = await TestContainer.start(bundle);
    const inputs = [1, 2, "bad", 3].map((each) => ({ list: [each] }));
    expect(await container.predict(inputs)).toMatchObject([1, 2, { code: "MODEL_ERROR" }, 3]);
  });

  test("keeps its stack from callers and gives it to the log, in source positions of the module", async () => {
    await using bundle = await functionBundle(`export function predict() {\n  throw new Error("deep");\n}`);
    await using container = await TestContainer.start(bundle);
    expect(await container.predict([1])).toEqual([{ code: "MODEL_ERROR", message: "Error: deep" }]);
    expect(container.stderr).toContain("function.mjs:2:9");
    expect(container.stderr).not.toMatch(/^ +at .*(?:user-function|loader)\.[jt]s/m);
  });

  test("may throw what is not an error", async () => {
    await using bundle = await functionBundle("export const predict = async () => { throw null; };");
    await using container = await TestContainer.start(bundle);
    expect(await container.predict([1])).toEqual([{ code: "MODEL_ERROR", message: "threw null" }]);
  });
});

describe("the signal of a call", () => {
  test("ends the search for a bad row at the deadline, also in a function that never waits", async () => {
    await using bundle = await functionBundle(`let calls = 0;
      export const predict = (inputs) => {
        if (inputs[0] === "calls") return [calls];
        calls += 1;
        for (const until = performance.now() + 100; performance.now() < until;);
        throw new Error("slow and bad");
      };`);
    await using container = await TestContainer.start(bundle);
    const rows = Array.from({ length: 64 }, (_, row) => row);
    const { errors } = await container.infer([jsonTensor("input", rows)], {
      "windjammer-deadline-ms": "3000",
    });
    expect(errors.at(-1)?.message).toBe("The deadline has passed before this input could run");
    const [calls] = await container.predict(["calls"]);
    // Each call takes 100 ms at least, so that 3,000 ms hold thirty, and the one that runs at their end.
    expect(calls).toBeLessThanOrEqual(31);
  });

  const WAITS = `export const predict = (inputs, { signal }) => new Promise((resolve, reject) => {
    console.log("waiting");
    signal.addEventListener("abort", () => { console.log("aborted: " + signal.reason.name); resolve(inputs); });
  });`;

  test("aborts at the deadline of the request", async () => {
    await using bundle = await functionBundle(WAITS);
    await using container = await TestContainer.start(bundle);
    await container.infer([jsonTensor("input", [1])], { "windjammer-deadline-ms": "2000" });
    await container.said("aborted: TimeoutError");
  });

  test("aborts when the caller goes", async () => {
    await using bundle = await functionBundle(WAITS);
    await using container = await TestContainer.start(bundle);
    const { request } = await import("node:http");
    const text = JSON.stringify({ inputs: [{ name: "input", datatype: "BYTES", shape: [1], data: ["1"] }] });
    const sent = request({ socketPath: container.socketPath, method: "POST", path: "/v2/models/m/infer" });
    sent.on("error", () => {});
    sent.end(text);
    await container.said("waiting");
    sent.destroy();
    await container.said("aborted: AbortError");
  });
});

describe("bundles that cannot be loaded", () => {
  test.each([
    [
      "export const other = () => [], third = 3;",
      /function\.mjs has no function "predict"; its exported functions are: other$/m,
    ],
    ["export const predict = (", /cannot load function\.mjs: SyntaxError/],
    [
      "import 'not-installed'; export const predict = 1;",
      /cannot load function\.mjs: Error: Cannot find package 'not-installed'/,
    ],
    ["throw new Error('at import');", /cannot load function\.mjs: Error: at import/],
  ])("say why: %s", async (code, message) => {
    await using bundle = await functionBundle(code);
    await using container = TestContainer.spawn(bundle);
    expect(await container.exited).toEqual({ code: 1, signal: null });
    expect(container.stderr).toMatch(message);
  });
});
