// Suite of our servers in model containers: paths, status codes, JSON and binary bodies, parallel calls, garbage.
import { connect } from "node:net";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeBytes, encodeHeader, type Tensor } from "../../containers/tensors.ts";
import type { Manifest } from "../../containers/protocol.ts";
import {
  type BundleOnDisk,
  jsonTensor,
  parseReply,
  type Reply,
  type ServerCommand,
  TestContainer,
  textsOf,
} from "../helpers/container.ts";

const INFER = "/v2/models/m/infer";

/** Two named inputs, one of free length: the sums of its rows, times the other one. */
const contract = {
  inputs: [
    { name: "values", datatype: "FP32", shape: [-1], isRagged: true },
    { name: "factor", datatype: "INT64", shape: [] },
  ],
  outputs: [{ name: "output", datatype: "BYTES", shape: [], contentType: "json" }],
  isBatched: true,
  maxBatchSize: 100,
} as const;

/** A server, and the models in its language that the suite runs in it. */
export interface ServerCase {
  readonly name: string;
  readonly command: ServerCommand;
  /** What its metadata says of these models. */
  readonly platform: string;
  /** Sums of the rows of `values`, times `factor`, as JSON. */
  sums(fields: Partial<Manifest>): Promise<BundleOnDisk>;
  /** Gives its inputs as they are; for an input "slow" it says "computing", and computes until a file "go" is beside it. */
  busy(fields?: Partial<Manifest>): Promise<BundleOnDisk>;
}

function values(shape: readonly number[], numbers: readonly number[]): Tensor {
  return { name: "values", datatype: "FP32", shape, data: new Uint8Array(Float32Array.from(numbers).buffer) };
}

function factor(...numbers: readonly number[]): Tensor {
  const data = new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer);
  return { name: "factor", datatype: "INT64", shape: [numbers.length], data };
}

function errorOf(reply: Reply): string {
  expect(reply.headers["content-type"]).toBe("application/json");
  return (reply.json() as { error: string }).error;
}

/** How every server of ours answers over HTTP. */
export function testContainerServer(server: ServerCase): void {
  describe(`the ${server.name} server`, () => {
    let bundle: BundleOnDisk;
    let container: TestContainer;

    beforeAll(async () => {
      bundle = await server.sums({ contract });
      container = await TestContainer.start(bundle, {}, server.command);
    });

    afterAll(async () => {
      await container[Symbol.asyncDispose]();
      await bundle[Symbol.asyncDispose]();
    });

    describe("paths", () => {
      test("the socket is open to owner and group only", async () => {
        expect((await stat(container.socketPath)).mode & 0o777).toBe(0o660);
      });

      test("health tells live and ready", async () => {
        expect((await container.get("/v2/health/live")).json()).toEqual({ live: true });
        expect((await container.get("/v2/health/ready")).json()).toEqual({ ready: true });
        expect((await container.get("/v2/models/m/ready")).json()).toEqual({ name: "m", ready: true });
      });

      test.each(["/v2", "/v2/", "/v2?x=1"])("%s tells the extensions", async (path) => {
        expect((await container.get(path)).json()).toMatchObject({
          extensions: expect.arrayContaining(["binary_tensor_data"]),
        });
      });

      test.each(["/v2/models/m", "/v2/models/m/versions/1"])("%s tells the contract", async (path) => {
        expect((await container.get(path)).json()).toMatchObject({
          name: "m",
          versions: ["1"],
          platform: server.platform,
          inputs: [
            { name: "values", datatype: "FP32", shape: [-1, -1] },
            { name: "factor", datatype: "INT64", shape: [-1] },
          ],
          outputs: [{ name: "output", datatype: "BYTES", shape: [-1], parameters: { content_type: "json" } }],
        });
      });

      test.each([
        ["GET /v2/models/other", 404, /^Request for unknown model: "other"/],
        ["GET /v2/models/m/versions/2", 404, /^Request for unknown model: "m" version "2"/],
        ["POST /v2/models/other/infer", 404, /^Request for unknown model/],
        ["GET /", 404, /unknown path "\/"/],
        ["GET /v2/models/m/stats", 404, /unknown path/],
        [`GET ${INFER}`, 405, /takes POST, got GET/],
        ["POST /v2", 405, /takes GET, got POST/],
      ])("%s is refused with %i", async (line, status, message) => {
        const [method = "", path = ""] = line.split(" ");
        const reply = await container.call(method, path, { body: "" });
        expect(reply.status).toBe(status);
        expect(errorOf(reply)).toMatch(message);
      });
    });

    describe("infer", () => {
      test("answers binary requests in binary", async () => {
        const reply = await container.inferRaw([values([2, 2], [1, 2, 3, 4]), factor(1, -1)]);
        expect(reply.headers["content-type"]).toBe("application/octet-stream");
        const { outputs, computeUs } = parseReply(reply);
        expect(textsOf(outputs.get("output"))).toEqual(["3", "-7"]);
        expect(computeUs).toBeGreaterThan(0);
      });

      test("takes the inputs in any order", async () => {
        const { outputs } = await container.infer([factor(2), values([1, 3], [1, 2, 3])]);
        expect(textsOf(outputs.get("output"))).toEqual(["12"]);
      });

      test("answers JSON requests in JSON, with the caller's id", async () => {
        const reply = await container.inferJson({
          id: "my call",
          model_name: "ignored",
          inputs: [
            {
              name: "values",
              datatype: "FP32",
              shape: [2, 2],
              data: [
                [1, 2],
                [1, 0],
              ],
            },
            { name: "factor", datatype: "INT64", shape: [2], data: [1, 9007199254740991] },
          ],
        });
        expect(reply.headers["content-type"]).toBe("application/json");
        expect(reply.json()).toEqual({
          model_name: "m",
          model_version: "1",
          id: "my call",
          outputs: [
            {
              name: "output",
              datatype: "BYTES",
              shape: [2],
              parameters: { content_type: "json" },
              data: ["3", "9007199254740991"],
            },
          ],
        });
      });

      test("takes ragged rows, in binary and in JSON", async () => {
        const rows = [[1, 2, 3], [], [4]];
        const data = encodeBytes(rows.map((row) => new Uint8Array(Float32Array.from(row).buffer)));
        const ragged: Tensor = { name: "values", datatype: "BYTES", shape: [3], data, contentType: "fp32" };
        const { outputs } = await container.infer([ragged, factor(1, 1, 2)]);
        expect(textsOf(outputs.get("output"))).toEqual(["6", "0", "8"]);
        const reply = await container.inferJson({
          inputs: [
            {
              name: "values",
              datatype: "BYTES",
              shape: [3],
              parameters: { content_type: "fp32" },
              data: rows,
            },
            { name: "factor", datatype: "INT64", shape: [3], data: [1, 1, 2] },
          ],
        });
        expect(reply.json()).toMatchObject({ outputs: [{ data: ["6", "0", "8"] }] });
      });

      test("gives binary outputs to a JSON request that asks for them, and JSON to a binary one", async () => {
        const inputs = [
          { name: "values", datatype: "FP32", shape: [1, 1], data: [2] },
          { name: "factor", datatype: "INT64", shape: [1], data: [3] },
        ];
        const all = await container.inferJson({ inputs, parameters: { binary_data_output: true } });
        expect(textsOf(parseReply(all).outputs.get("output"))).toEqual(["6"]);
        const one = await container.inferJson({
          inputs,
          outputs: [{ name: "output", parameters: { binary_data: true } }],
        });
        expect(textsOf(parseReply(one).outputs.get("output"))).toEqual(["6"]);
        const tensors = [values([1, 1], [2]), factor(3)];
        const header = encodeHeader({
          inputs: tensors.map(({ name, datatype, shape, data }) => ({
            name,
            datatype,
            shape,
            parameters: { binary_data_size: data.byteLength },
          })),
          outputs: [{ name: "output", parameters: { binary_data: false } }],
        });
        const text = await container.call("POST", INFER, {
          body: Buffer.concat([header, ...tensors.map(({ data }) => data)]),
          headers: { "inference-header-content-length": `${header.byteLength}` },
        });
        expect(text.headers["inference-header-content-length"]).toBeUndefined();
        expect(text.json()).toMatchObject({ outputs: [{ data: ["6"] }] });
      });

      test("takes a body without a length", async () => {
        const reply = await new Promise<string>((resolve, reject) => {
          const socket = connect(container.socketPath);
          const body = JSON.stringify({
            inputs: [
              { name: "values", datatype: "FP32", shape: [1, 1], data: [2] },
              { name: "factor", datatype: "INT64", shape: [1], data: [3] },
            ],
          });
          let text = "";
          socket.setEncoding("utf8").on("data", (part: string) => (text += part));
          socket.on("end", () => resolve(text)).on("error", reject);
          socket.write(
            `POST ${INFER} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n`,
          );
          for (const part of [body.slice(0, 10), body.slice(10)])
            socket.write(`${part.length.toString(16)}\r\n${part}\r\n`);
          socket.write("0\r\n\r\n");
        });
        expect(reply).toContain('"data":["6"]');
      });

      test("keeps parallel calls apart", async () => {
        const calls = Array.from({ length: 64 }, async (_, call) => {
          const { outputs } = await container.infer([values([2, 1], [call, 1]), factor(1, call)]);
          return textsOf(outputs.get("output"));
        });
        expect(await Promise.all(calls)).toEqual(
          Array.from({ length: 64 }, (_, call) => [`${call}`, `${call}`]),
        );
      });

      test("refuses a call whose deadline has passed with 504", async () => {
        const reply = await container.inferRaw([values([1, 1], [1]), factor(1)], {
          "windjammer-deadline-ms": "0",
        });
        expect(reply.status).toBe(504);
        expect(errorOf(reply)).toContain("deadline");
      });
    });

    describe("bad requests", () => {
      const good = {
        values: { name: "values", datatype: "FP32", shape: [1, 2], data: [1, 2] },
        factor: { name: "factor", datatype: "INT64", shape: [1], data: [1] },
      };
      const withValues = (fields: object): object => ({
        inputs: [{ ...good.values, ...fields }, good.factor],
      });
      const withFactor = (fields: object): object => ({
        inputs: [good.values, { ...good.factor, ...fields }],
      });

      test.each<[string, unknown, RegExp]>([
        ["no inputs", {}, /"inputs" must be a list/],
        ["inputs that are no list", { inputs: { values: good.values } }, /"inputs" must be a list/],
        ["a body that is no object", [1], /the request must be an object/],
        ["a missing input", { inputs: [good.values] }, /input "factor" is missing/],
        [
          "an unknown input",
          { inputs: [good.values, good.factor, { ...good.factor, name: "x" }] },
          /unknown input "x"; the inputs are "values", "factor"/,
        ],
        [
          "an input given twice",
          { inputs: [good.values, good.factor, good.factor] },
          /input "factor" is given twice/,
        ],
        ["another datatype", withValues({ datatype: "FP64" }), /input "values" takes FP32, got "FP64"/],
        ["another rank", withValues({ shape: [2] }), /input "values" takes shape \[-1,-1\], got \[2\]/],
        ["a negative size", withValues({ shape: [-1, 2] }), /shape \[-1,2\] is not a shape/],
        ["a shape beyond all numbers", withValues({ shape: [2 ** 40, 2 ** 40] }), /is not a shape/],
        ["a shape beyond 2^53", withValues({ shape: [1e30, 1] }), /is not a shape/],
        ["too few elements", withValues({ data: [1] }), /the shape takes 2 elements, "data" has 1/],
        ["an element of another type", withValues({ data: [1, "a"] }), /element 1 is "a", which is not FP32/],
        ["a number that does not fit", withFactor({ data: [1.5] }), /element 0 is 1.5, which is not INT64/],
        ["an integer beyond 64 bits", withFactor({ data: [1e19] }), /which is not INT64/],
        [
          "different row counts",
          withValues({ shape: [2, 1] }),
          /input "factor" has 1 rows, input "values" has 2/,
        ],
        [
          "an empty batch",
          {
            inputs: [
              { ...good.values, shape: [0, 2], data: [] },
              { ...good.factor, shape: [0], data: [] },
            ],
          },
          /the batch is empty/,
        ],
        [
          "too large a batch",
          {
            inputs: [
              { ...good.values, shape: [101, 0], data: [] },
              { ...good.factor, shape: [101], data: Array(101).fill(0) },
            ],
          },
          /the batch has 101 rows; this model takes 100 at most/,
        ],
        [
          "neither data nor a size",
          withValues({ data: undefined }),
          /must have either "data" or parameters.binary_data_size/,
        ],
        ["both data and a size", withValues({ parameters: { binary_data_size: 8 } }), /must have either/],
        [
          "ragged rows of another type",
          withValues({ datatype: "BYTES", shape: [1], parameters: { content_type: "fp64" }, data: [[1]] }),
          /BYTES \[n\] with content_type "fp32"/,
        ],
        [
          "an unknown output",
          { ...withValues({}), outputs: [{ name: "y" }] },
          /unknown output "y"; the outputs are "output"/,
        ],
        ["an id that is no text", { ...withValues({}), id: 7 }, /"id" must be a string/],
        [
          "a flag that is none",
          { ...withValues({}), parameters: { binary_data_output: "yes" } },
          /binary_data_output must be true or false/,
        ],
        [
          "classification",
          { ...withValues({}), outputs: [{ name: "output", parameters: { classification: 3 } }] },
          /classification is not supported/,
        ],
      ])("%s", async (_, body, message) => {
        const reply = await container.inferJson(body);
        expect(reply.status).toBe(400);
        expect(errorOf(reply)).toMatch(message);
      });

      test("nesting that is too deep for any stack", async () => {
        const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
        const bodies = [
          deep,
          `{"inputs":${deep}}`,
          `{"inputs":[{"name":"values","datatype":"FP32","shape":${deep},"data":[]}]}`,
          `{"inputs":[{"name":"values","datatype":"FP32","shape":[1,1],"data":${deep}},{"name":"factor","datatype":"INT64","shape":[1],"data":[1]}]}`,
        ];
        for (const body of bodies) {
          const reply = await container.call("POST", INFER, { body });
          expect(reply.status).toBe(400);
          expect(errorOf(reply).length).toBeLessThan(500);
        }
      });

      test("text that is not JSON", async () => {
        for (const body of ["", "{", "\u0000\u0001", "NaN"]) {
          const reply = await container.call("POST", INFER, { body });
          expect(reply.status).toBe(400);
          expect(errorOf(reply)).toContain("not valid JSON");
        }
      });

      const tensors = [values([1, 2], [1, 2]), factor(1)];
      const header = encodeHeader({
        inputs: tensors.map(({ name, datatype, shape, data }) => ({
          name,
          datatype,
          shape,
          parameters: { binary_data_size: data.byteLength },
        })),
      });

      const nothing = new Uint8Array(0);
      test.each<[string, { tail: Uint8Array; length?: string }, RegExp]>([
        ["missing bytes", { tail: nothing }, /take 16 bytes behind the header, the body has 0/],
        ["surplus bytes", { tail: new Uint8Array(17) }, /the body has 17/],
        ["a header beyond the body", { tail: nothing, length: "100000" }, /the body has \d+ bytes/],
        ["a header of no bytes", { tail: nothing, length: "0" }, /raw requests are not supported/],
        ["a header length that is none", { tail: nothing, length: "abc" }, /"abc", not a number/],
        ["a header that is cut off", { tail: nothing, length: "8" }, /not valid JSON/],
      ])("binary with %s", async (_, { tail, length }, message) => {
        const reply = await container.call("POST", INFER, {
          body: Buffer.concat([header, tail]),
          headers: { "inference-header-content-length": length ?? `${header.byteLength}` },
        });
        expect(reply.status).toBe(400);
        expect(errorOf(reply)).toMatch(message);
      });

      test("BYTES whose lengths do not add up", async () => {
        const broken: [Uint8Array, RegExp][] = [
          [Uint8Array.of(9, 0, 0, 0, 1), /cut off/],
          [Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0), /got more/],
          [new Uint8Array(0), /expected 1 BYTES elements, got 0/],
          [Uint8Array.of(3, 0, 0, 0, 1, 2, 3), /a row of 3 bytes cannot hold fp32 numbers/],
        ];
        for (const [data, message] of broken) {
          const rows: Tensor = { name: "values", datatype: "BYTES", shape: [1], data, contentType: "fp32" };
          const reply = await container.inferRaw([rows, factor(1)]);
          expect(reply.status).toBe(400);
          expect(errorOf(reply)).toMatch(message);
        }
      });

      test("a compressed body gets 415, one that is too large 413, and neither breaks the next call", async () => {
        const compressed = await container.call("POST", INFER, {
          body: "x",
          headers: { "content-encoding": "gzip" },
        });
        expect(compressed.status).toBe(415);
        const refused = await new Promise<string>((resolve, reject) => {
          const socket = connect(container.socketPath);
          let text = "";
          socket.setEncoding("utf8").on("data", (part: string) => (text += part));
          socket.on("end", () => resolve(text)).on("error", reject);
          socket.write(`POST ${INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: ${2 ** 31}\r\n\r\nabc`);
        });
        expect(refused).toMatch(/^HTTP\/1.1 413 /);
        expect((await container.inferRaw(tensors)).status).toBe(200);
      });

      test("a caller that goes in the middle of its body costs nobody anything", async () => {
        const socket = connect(container.socketPath);
        socket.write(`POST ${INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc`);
        await new Promise((resolve) => socket.once("connect", resolve));
        socket.destroy();
        expect((await container.inferRaw(tensors)).status).toBe(200);
      });

      test("a seeded stream of garbage gets 400 and nothing else", async () => {
        let seed = 7;
        const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31);
        for (let round = 0; round < 200; round += 1) {
          const body = Buffer.concat([header, ...tensors.map(({ data }) => data)]);
          for (let change = 0; change < 3; change += 1) body[next() % header.byteLength] = next() % 256;
          const reply = await container.call("POST", INFER, {
            body,
            headers: { "inference-header-content-length": `${header.byteLength}` },
          });
          expect([200, 400]).toContain(reply.status);
        }
      });
    });

    describe("half floats", () => {
      test("do not travel as JSON", async () => {
        const half = { name: "x", datatype: "FP16", shape: [] } as const;
        await using other = await server.busy({ contract: { ...contract, inputs: [half] } });
        await using halves = await TestContainer.start(other, {}, server.command);
        const reply = await halves.inferJson({ inputs: [{ ...half, shape: [1], data: [1] }] });
        expect(reply.status).toBe(400);
        expect(errorOf(reply)).toContain("send it as binary tensor data");
        const { outputs } = await halves.infer([
          { ...half, shape: [2], data: new Uint8Array(Float16Array.of(0.5, -2).buffer) },
        ]);
        expect(textsOf(outputs.get("output")).map(Number)).toEqual([0.5, -2]);
      });
    });

    describe("while the model computes", () => {
      test("health answers, and a later call waits for its turn or its deadline", async () => {
        await using bundled = await server.busy();
        await using busy = await TestContainer.start(bundled, {}, server.command);
        const slow = busy.infer([jsonTensor("input", ["slow"])]);
        await busy.said("computing");
        const late = busy.inferRaw([jsonTensor("input", ["late"])], { "windjammer-deadline-ms": "20" });
        const waiting = busy.predict(["fast"]);
        expect((await busy.get("/v2/health/live")).status).toBe(200);
        expect((await busy.get("/v2/health/ready")).status).toBe(200);
        // It is here, since what came behind it was answered; longer than its deadline it does not wait in vain.
        await delay(50);
        await writeFile(join(bundled.files, "go"), "");
        expect((await late).status).toBe(504);
        expect(await waiting).toEqual(["fast"]);
        expect((await slow).errors).toEqual([]);
      });
    });
  });
}
