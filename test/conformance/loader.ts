// What every loader must do, run through the real server process over a Unix socket.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ItemError } from "../../containers/protocol.ts";
import { sliceBinary, type Tensor } from "../../containers/tensors.ts";
import {
  type BundleOnDisk,
  type InferResult,
  NODE_SERVER,
  type ServerCommand,
  TestContainer,
} from "../helpers/container.ts";

/** A loader under test, with a bundle of its own. */
export interface LoaderCase {
  readonly name: string;
  /** The server that loads it. Default: the one in Node. */
  readonly command?: ServerCommand;
  bundle(): Promise<BundleOnDisk>;
  /** File of the bundle without which it cannot be loaded. */
  readonly modelFile: string;
  /** Inputs that can be answered: "0" to "count - 1". */
  readonly count: number;
  /** Tensors of a batch of these inputs; "bad" is one that the model fails on. */
  tensors(rows: readonly (number | "bad")[]): readonly Tensor[];
  /** Asserts that row `row` of the result answers input `input`. */
  expectAnswer(result: InferResult, row: number, input: number): void;
  /** What a bad row gets. */
  readonly badCode: ItemError["code"];
  readonly badMessage: RegExp;
}

export function testLoader(suite: LoaderCase): void {
  const { command = NODE_SERVER } = suite;

  describe(`loader ${suite.name}`, () => {
    let bundle: BundleOnDisk;
    let container: TestContainer;

    beforeAll(async () => {
      bundle = await suite.bundle();
      container = await TestContainer.start(bundle, {}, command);
    });

    afterAll(async () => {
      await container[Symbol.asyncDispose]();
      await bundle[Symbol.asyncDispose]();
    });

    async function expectAnswers(rows: readonly number[]): Promise<void> {
      const result = await container.infer(suite.tensors(rows));
      expect(result.errors).toEqual([]);
      for (const [row, input] of rows.entries()) suite.expectAnswer(result, row, input);
    }

    test("answers a single row", async () => {
      await expectAnswers([0]);
    });

    test("answers 64 rows in their order", async () => {
      await expectAnswers(cycle(64, suite.count));
    });

    test("reports the time spent in the loader", async () => {
      const { computeUs } = await container.infer(suite.tensors([0]));
      expect(computeUs).toBeGreaterThanOrEqual(0);
      expect(Number.isInteger(computeUs)).toBe(true);
    });

    test("fails a bad row alone", async () => {
      const result = await container.infer(suite.tensors([0, "bad", 1 % suite.count, "bad"]));
      expect(result.errors.map((error) => error?.code)).toEqual([
        undefined,
        suite.badCode,
        undefined,
        suite.badCode,
      ]);
      expect(result.errors[1]?.message).toMatch(suite.badMessage);
      suite.expectAnswer(result, 0, 0);
      suite.expectAnswer(result, 2, 1 % suite.count);
    });

    test("fails a bad row that comes alone, and goes on", async () => {
      const result = await container.infer(suite.tensors(["bad"]));
      expect(result.errors.map((error) => error?.code)).toEqual([suite.badCode]);
      await expectAnswers([0]);
    });

    test("gives parallel calls their own answers", async () => {
      await Promise.all(
        [1, 2, 3, 5, 8, 13].map((length) => expectAnswers(cycle(length, suite.count).toReversed())),
      );
    });

    test("says in metadata what infer takes and gives", async () => {
      const metadata = (await container.get("/v2/models/m")).json() as {
        inputs: { name: string; datatype: string; shape: number[] }[];
        outputs: { name: string; datatype: string }[];
      };
      const sent = suite.tensors([0]);
      expect(metadata.inputs.map(({ name }) => name)).toEqual(sent.map(({ name }) => name));
      for (const { shape } of metadata.inputs) expect(shape[0]).toBe(-1);
      const { outputs } = await container.infer(sent);
      expect([...outputs.values()].map(({ name, datatype }) => ({ name, datatype }))).toEqual(
        metadata.outputs.map(({ name, datatype }) => ({ name, datatype })),
      );
    });

    test("gives only the outputs that are asked for", async () => {
      const sent = suite.tensors([0]);
      const [first] = (await container.infer(sent)).outputs.keys();
      const header = {
        inputs: sent.map(({ name, datatype, shape, contentType, data }) => ({
          name,
          datatype,
          shape,
          parameters: { content_type: contentType, binary_data_size: data.byteLength },
        })),
        outputs: [{ name: first, parameters: { binary_data: true } }],
      };
      const text = Buffer.from(JSON.stringify(header));
      const reply = await container.call("POST", "/v2/models/m/infer", {
        body: Buffer.concat([text, ...sent.map(({ data }) => data)]),
        headers: { "inference-header-content-length": `${text.byteLength}` },
      });
      expect(reply.status).toBe(200);
      const length = Number(reply.headers["inference-header-content-length"]);
      const { outputs } = JSON.parse(reply.body.subarray(0, length).toString("utf8")) as {
        outputs: Tensor[];
      };
      expect(outputs.map(({ name }) => name)).toEqual([first]);
      expect([...sliceBinary(outputs, reply.body, length).keys()]).toEqual([first]);
    });

    test("ends with a message that names the file when the model is missing", async () => {
      await using broken = await suite.bundle();
      await rm(join(broken.files, suite.modelFile));
      await using ended = TestContainer.spawn(broken, {}, command);
      expect(await ended.exited).toEqual({ code: 1, signal: null });
      expect(ended.stderr).toContain(suite.modelFile);
    });
  });
}

/** 0 to `count - 1`, again and again. */
function cycle(length: number, count: number): number[] {
  return Array.from({ length }, (_, row) => row % count);
}
