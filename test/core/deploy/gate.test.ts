import { describe, expect, it, onTestFinished } from "vitest";
import type { Manifest, TensorSpec } from "../../../containers/protocol.ts";
import { runGate } from "../../../core/deploy/gate.ts";
import type { Remark } from "../../../core/deploy/journal.ts";
import { madeUpInput, madeUpInputs } from "../../../core/deploy/made-up-input.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import { DeploymentInterruptedError, GateFailedError, WindjammerError } from "../../../core/errors.ts";
import { createLog } from "../../../core/log.ts";
import { Metrics } from "../../../core/metrics.ts";
import { Serving } from "../../../core/query/serving.ts";
import type { ServedVersion } from "../../../core/query/served-version.ts";
import type { Example } from "../../../core/types.ts";
import { ScriptedRuntime, type Script, type ScriptedCall } from "../../helpers/scripted-runtime.ts";
import { testBundle, testVersion } from "../../helpers/versions.ts";

async function serve(
  script: Script,
  settings: Parameters<typeof testVersion>[0] = {},
  ofManifest?: Manifest,
): Promise<ServedVersion> {
  const runtime = new ScriptedRuntime(script);
  const serving = new Serving({
    runtime,
    metrics: new Metrics(),
    log: createLog("silent"),
    maxQueueLength: 100,
  });
  const plain = testVersion(settings);
  const version = { ...plain, manifest: ofManifest ?? plain.manifest };
  const served = serving.open(version, testBundle(version), "scripted");
  onTestFinished(async () => {
    await serving.closeAll(0);
    await runtime.close();
  });
  await served.startReplica(new AbortController().signal);
  return served;
}

/** Runs the gate; gives what it said, or its failure. */
async function gate(
  served: ServedVersion,
  examples: readonly Example[] = [],
  signal: AbortSignal = new AbortController().signal,
): Promise<{ readonly said: readonly Remark[]; readonly error: WindjammerError | undefined }> {
  const said: Remark[] = [];
  const run = { served, settings: { examples, tolerance: 1e-4 }, signal };
  try {
    await runGate({ ...run, say: async (remark) => void said.push(remark) });
    return { said, error: undefined };
  } catch (error) {
    expect(error).toBeInstanceOf(WindjammerError);
    return { said, error: error as WindjammerError };
  }
}

const double = ({ inputs }: ScriptedCall): { outputs: number[] } => ({
  outputs: inputs.map((input) => Number(input) * 2),
});

describe("examples", () => {
  it("are run alone and together, and compared within the tolerance", async () => {
    const sizes: number[] = [];
    const served = await serve((call) => {
      sizes.push(call.inputs.length);
      return double(call);
    });
    const { said, error } = await gate(served, [
      { input: 1, output: 2.000_1 },
      { input: 2, output: 4 },
      { input: 3 },
    ]);
    expect(error).toBeUndefined();
    expect(said.at(-1)?.message).toMatch(/3 examples answered as expected/);
    expect(sizes.slice(0, 3)).toEqual([1, 1, 1]);
    expect(Math.max(...sizes)).toBeGreaterThan(1);
  });

  it("fail with the example's number, the place, what was expected and what came", async () => {
    const served = await serve(({ inputs }) => ({ outputs: inputs.map(() => ({ a: [1, 2] })) }));
    const { error } = await gate(served, [
      { input: 1, output: { a: [1, 2] } },
      { input: 2, output: { a: [1, 3] } },
    ]);
    expect(error).toBeInstanceOf(GateFailedError);
    expect(error?.message).toContain("model echo version 1 did not pass the gate: example 2");
    expect(error?.details).toMatchObject({
      example: 2,
      path: "output.a[1]",
      expected: 3,
      got: 2,
      tolerance: 1e-4,
    });
  });

  it("speak of the tolerance where two numbers differ, and of nothing but them", async () => {
    const served = await serve(({ inputs }) => ({ outputs: inputs }));
    const number = await gate(served, [{ input: 1, output: 2 }]);
    expect(number.error?.message).toMatch(/output is 1, expected 2 \(tolerance 0\.0001\)/);
    const text = await gate(served, [{ input: "bad", output: "good" }]);
    expect(text.error?.message).toMatch(/output is "bad", expected "good"(?! \(tolerance)/);
  });

  it("fail when they are answered rightly alone, but wrongly together", async () => {
    const served = await serve(({ inputs }) => ({ outputs: inputs.map(() => inputs[0]) }));
    const { error } = await gate(served, [
      { input: 1, output: 1 },
      { input: 2, output: 2 },
    ]);
    expect(error?.message).toMatch(/example 2 sent together with others gave another output/);
  });

  it("fail on an error of the model, with its code", async () => {
    const served = await serve(({ inputs }) => ({
      outputs: inputs,
      errors: inputs.map(() => ({ code: "MODEL_ERROR", message: "no such key" })),
    }));
    const { error } = await gate(served, [{ input: 1 }]);
    expect(error).toBeInstanceOf(GateFailedError);
    expect(error?.message).toMatch(/example 1 failed: .*no such key \(MODEL_ERROR\)/);
    expect(error?.details["code"]).toBe("MODEL_ERROR");
  });

  it("fail when the replica dies of one, naming its end and its last log lines", async () => {
    const served = await serve(({ inputs }) => (inputs.includes(2) ? "die" : { outputs: inputs }));
    const { error } = await gate(served, [{ input: 1 }, { input: 2 }]);
    expect(error?.message).toMatch(/example 2 failed: replica .* exited with code 3/);
    expect(error?.details["logTail"]).toEqual(["Segmentation fault (scripted)"]);
  });

  it("stop when the deployment is cut off", async () => {
    const asked = Promise.withResolvers<void>();
    const served = await serve(() => {
      asked.resolve();
      return "hang";
    });
    const closing = new AbortController();
    const running = gate(served, [{ input: 1 }], closing.signal);
    await asked.promise;
    closing.abort(new DeploymentInterruptedError("closing"));
    expect((await running).error).toBeInstanceOf(DeploymentInterruptedError);
  });
});

function madeUpValue(inputType: "json" | "strings" | "bytes" | "doubles"): unknown {
  return madeUpInput(manifest({ deployer: "test", loader: "function", inputType })).value;
}

function madeUpTensors(inputs: readonly TensorSpec[]): unknown {
  const contract = { inputs, outputs: [], isBatched: true };
  return madeUpInput(manifest({ deployer: "test", loader: "onnx", inputType: "tensor", contract })).value;
}

function withTasks(...tasks: string[]): Manifest {
  return manifest({
    deployer: "python",
    loader: "python",
    container: { kind: "python" },
    inputType: "json",
    model: { form: "inference", file: "inference.py", tasks },
  });
}

describe("a made-up input", () => {
  it("that is answered passes", async () => {
    const { said, error } = await gate(await serve(({ inputs }) => ({ outputs: inputs })));
    expect(error).toBeUndefined();
    expect(said.at(-1)).toMatchObject({
      step: "gate",
      message: expect.stringContaining("was answered") as string,
    });
  });

  it("that the model refuses with an error is a warning", async () => {
    const refusals = [
      { code: "MODEL_ERROR", message: "TypeError" },
      { code: "INVALID_MODEL_OUTPUT", message: "undefined is not JSON" },
    ];
    for (const refusal of refusals) {
      const served = await serve(({ inputs }) => ({ outputs: inputs, errors: inputs.map(() => refusal) }));
      const { said, error } = await gate(served);
      expect(error).toBeUndefined();
      expect(said.at(-1)).toMatchObject({
        level: "warning",
        message: expect.stringContaining(refusal.message) as string,
      });
    }
  });

  it("fails the gate when it kills the replica, hangs it, or is answered with a wrong count", async () => {
    const faults: readonly [Script, RegExp][] = [
      [() => "die", /exited with code 3/],
      [() => "hang", /within 1000 ms/],
      [() => ({ outputs: [1, 2, 3, 4, 5] }), /5 rows/],
      [
        ({ inputs }) => ({
          outputs: inputs,
          errors: inputs.map(() => ({
            code: "INVALID_MODEL_OUTPUT",
            message: "1 output for 2 inputs",
            isWrongCount: true,
          })),
        }),
        /1 output for 2 inputs/,
      ],
    ];
    for (const [script, says] of faults) {
      const { error } = await gate(await serve(script, { batchTimeoutMs: 1000 }));
      expect(error).toBeInstanceOf(GateFailedError);
      expect(error?.message).toMatch(says);
    }
  });

  it("is not sent to a model that has a state", async () => {
    const calls: ScriptedCall[] = [];
    const served = await serve((call) => {
      calls.push(call);
      return { outputs: call.inputs };
    });
    const { version } = served;
    const stateful = { ...version, manifest: { ...version.manifest, isStateful: true } };
    const { said, error } = await gate(
      Object.assign(Object.create(served) as typeof served, { version: stateful }),
    );
    expect(error).toBeUndefined();
    expect(calls).toEqual([]);
    expect(said.at(-1)?.message).toContain("only the start was checked");
  });

  it("has the contract's shape, with 1 for free dimensions, or is an empty value", () => {
    expect((["json", "strings", "bytes", "doubles"] as const).map(madeUpValue)).toEqual([{}, "", "", [0]]);
    expect(madeUpTensors([{ name: "x", datatype: "FP32", shape: [-1, 2] }])).toEqual([[0, 0]]);
    expect(
      madeUpTensors([
        { name: "x", datatype: "FP32", shape: [2] },
        { name: "mask", datatype: "BOOL", shape: [-1] },
      ]),
    ).toEqual({ x: [0, 0], mask: [false] });
  });

  it("is one for each task of a Python model, as its callers send it", async () => {
    expect(madeUpInputs(withTasks("qa", "mine")).map(({ value }) => value)).toEqual([
      { question: expect.any(String) as string, context: expect.any(String) as string, task: "qa" },
      { task: "mine" },
    ]);
    expect(madeUpInputs(withTasks("emotion"))).toEqual([
      { value: { text: expect.any(String) as string }, text: 'a made-up input of the task "emotion"' },
    ]);
    const sent: unknown[] = [];
    const served = await serve(
      ({ inputs }) => {
        sent.push(...inputs);
        return { outputs: inputs };
      },
      {},
      withTasks("summarisation", "emotion"),
    );
    const { said, error } = await gate(served);
    expect(error).toBeUndefined();
    expect(sent).toEqual(expect.arrayContaining([expect.objectContaining({ task: "summarisation" })]));
    expect(said.at(-1)?.message).toContain('a made-up input of the task "emotion" was answered');
  });
});
