// Requests that are read without node:http are answered as those that it reads.
import { once } from "node:events";
import type { Socket } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DeadlineExceededError } from "../../../core/errors.ts";
import { Pending } from "../../../core/query/pending.ts";
import type { Query } from "../../../core/query/query.ts";
import { fakes, jsonOutputs, valueManifest } from "../query/fakes.ts";
import { startTestServer, type TestServer, until } from "./query-client.ts";

const doubles = valueManifest("doubles");

function firstNumber(query: Query): void {
  const { data } = query.row.tensors[0] as { data: Uint8Array };
  const first = new DataView(data.buffer, data.byteOffset).getFloat64(0, true);
  query.settle({ kind: "ok", outputs: jsonOutputs([JSON.stringify({ first, text: "größer" })]), index: 0 });
}

interface Asked {
  readonly path: string;
  readonly body: string;
  /** With the line ends. */
  readonly headers: string;
}

function post({ path, body, headers }: Asked): string {
  return `POST ${path} HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** A header that changes nothing, and that only node:http understands. */
const BY_NODE = "Content-Encoding: identity\r\n";

/** Of headers, and of Clipper's bodies: ids differ from query to query, in their length too. */
const CHANGING = /^(?:Date|x-request-id|Content-Length): .*\r\n|"query_id":\d+/gim;

/** So many replies, without what differs from query to query. */
async function replies(socket: Socket, count: number): Promise<readonly string[]> {
  let text = "";
  const found: string[] = [];
  const gather = (chunk: Buffer): void => void (text += chunk.toString("latin1"));
  socket.on("data", gather);
  while (found.length < count) {
    const headEnd = text.indexOf("\r\n\r\n") + 4;
    const length = /^Content-Length: (\d+)\r$/m.exec(text.slice(0, headEnd))?.[1];
    const end = headEnd < 4 ? Infinity : headEnd + Number(length);
    if (text.length >= end) {
      found.push(text.slice(0, end).replaceAll(CHANGING, ""));
      text = text.slice(end);
    } else {
      await once(socket, "data");
    }
  }
  socket.off("data", gather);
  return found;
}

/** Sends the requests one after the other, each cut at the given places, with a pause at each. */
async function ask(
  server: TestServer,
  requests: readonly Asked[],
  cuts: readonly number[],
): Promise<readonly string[]> {
  const socket = await server.dial();
  const found: string[] = [];
  for (const request of requests) {
    const bytes = Buffer.from(post(request));
    const places = [
      0,
      ...cuts.map((cut) => cut % bytes.length).toSorted((one, other) => one - other),
      bytes.length,
    ];
    for (const [index, from] of places.slice(0, -1).entries()) {
      socket.write(bytes.subarray(from, places[index + 1]));
      await new Promise(setImmediate);
    }
    found.push(...(await replies(socket, 1)));
  }
  socket.destroy();
  return found;
}

/** Of every other dialect: JSON, text, events, binary and compressed replies, and refusals. */
const others = fc.record({
  path: fc.constantFrom(
    "/v2/models/digits/infer",
    "/v2/models/digits/versions/1/infer",
    "/v2/models/nobody/infer",
    "/v2/models/digits/generate_stream",
    "/v1/models/digits:predict",
    "/invocations",
    "/digits/update",
  ),
  body: fc.oneof(
    fc.nat(200).map((length) => tensors({ shape: [1, length], data: Array(length).fill(1.5) })),
    fc.nat(200).map((rows) => tensors({ shape: [rows, 1], data: Array(rows).fill(1.5) })),
    fc
      .array(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })))
      .map((instances) => JSON.stringify({ instances })),
    fc.constantFrom("[1,2]", "1,2\n3,4", '{"uid":1,"input":[1],"label":1}', '{"inputs":', "{}"),
  ),
  headers: fc.constantFrom(
    "",
    "Accept-Encoding: gzip\r\n",
    "Accept-Encoding: deflate;q=0.5\r\n",
    "Content-Type: text/csv\r\n",
    "Inference-Header-Content-Length: 0\r\n",
    "Inference-Header-Content-Length: 5\r\n",
  ),
});

function tensors(input: { readonly shape: readonly number[]; readonly data: readonly number[] }): string {
  const isBinary = input.data.length % 2 === 0;
  return JSON.stringify({
    inputs: [{ name: "input", datatype: "FP64", ...input }],
    parameters: { binary_data_output: isBinary },
  });
}

const predictions = fc.record({
  path: fc.constantFrom("/digits/predict", "/digits/predict/", "/digits/predict?x=1", "/nobody/predict"),
  body: fc.oneof(
    fc
      .array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 300 })
      .map((input) => JSON.stringify({ input })),
    fc.constantFrom(
      '{"input":[]}',
      '{"input":"ü"}',
      '{"input":',
      "[]",
      "null",
      "x",
      '{"input_batch":[[1],[2],["a"]]}',
    ),
  ),
  headers: fc.constantFrom(
    "",
    "Content-Type: application/json\r\n",
    "X-Windjammer-Timeout-Ms: 1000\r\n",
    "x-windjammer-timeout-ms: never\r\n",
    "Accept: */*\r\nUser-Agent: a b\r\n",
    "Connection: Keep-Alive\r\n",
  ),
});

const requests = fc.oneof(predictions, others);

describe("a plain request", () => {
  test("gets the reply that node:http would have given, in whatever pieces it comes", async () => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber));
    const property = fc.asyncProperty(
      fc.array(requests, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(), { maxLength: 3 }),
      async (asked, cuts) => {
        const byNode = asked.map((request) => ({ ...request, headers: BY_NODE + request.headers }));
        expect(await ask(server, asked, cuts)).toEqual(await ask(server, byNode, []));
      },
    );
    await fc.assert(property, { numRuns: 60, seed: 8 });
  });

  test.each([
    ["another method", "GET /digits HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"],
    ["another path", post({ path: "/digits/elsewhere", body: "{}", headers: "" }), "404 Not Found"],
    [
      "HTTP/1.0",
      post({ path: "/digits/predict", body: '{"input":[1]}', headers: "" }).replace("1.1", "1.0"),
      "200 OK",
    ],
    [
      "a body in chunks",
      'POST /digits/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{"input":[1]}\r\n0\r\n\r\n',
      "200 OK",
    ],
    [
      "two lengths",
      'POST /digits/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nContent-Length: 13\r\n\r\n{"input":[1]}',
      "400 Bad Request",
    ],
    [
      "a length and chunks",
      "POST /digits/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "400 Bad Request",
    ],
    [
      "a length that is none",
      'POST /digits/predict HTTP/1.1\r\nHost: x\r\nContent-Length: +13\r\n\r\n{"input":[1]}',
      "400 Bad Request",
    ],
    [
      "a folded header",
      'POST /digits/predict HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\nContent-Length: 13\r\n\r\n{"input":[1]}',
      "400 Bad Request",
    ],
    [
      "a header without a name",
      'POST /digits/predict HTTP/1.1\r\n: x\r\nContent-Length: 13\r\n\r\n{"input":[1]}',
      "400 Bad Request",
    ],
    [
      "space before the colon",
      'POST /digits/predict HTTP/1.1\r\nContent-Length : 13\r\n\r\n{"input":[1]}',
      "400 Bad Request",
    ],
    ["garbage", "\u0016\u0003\u0001 hello\r\n\r\n", "400 Bad Request"],
  ])("with %s goes to node:http, and so do those behind it", async (_name, text, status) => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber));
    const plain = { path: "/digits/predict", body: '{"input":[7]}', headers: "" };
    const [alone] = await ask(server, [plain], []);
    const socket = await server.dial();
    socket.write(post(plain));
    expect(await replies(socket, 1)).toEqual([alone]);
    socket.write(text);
    const [reply = ""] = await replies(socket, 1);
    expect(reply).toContain(`HTTP/1.1 ${status}`);
    if (!/HTTP\/1\.0|400/.test(text + reply)) {
      socket.write(post(plain));
      expect(await replies(socket, 1)).toEqual([alone]);
    }
    socket.destroy();
  });

  test("that comes before the answer to the last one waits for it", async () => {
    const held: Query[] = [];
    await using server = await startTestServer(fakes(doubles, {}, (query) => held.push(query)));
    const socket = await server.dial();
    for (const first of [1, 2]) {
      socket.write(post({ path: "/digits/predict", body: `{"input":[${first}]}`, headers: "" }));
      await until(() => held.length > 0);
    }
    held.forEach(firstNumber);
    await until(() => held.length === 2);
    held.slice(1).forEach(firstNumber);
    const texts = await replies(socket, 2);
    expect(texts.map((text) => /"first":(\d)/.exec(text)?.[1])).toEqual(["1", "2"]);
    socket.destroy();
  });

  test("that is cut off gets a 400, as from node:http", async () => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber));
    for (const headers of ["", BY_NODE]) {
      const socket = await server.dial();
      socket.write(post({ path: "/digits/predict", body: '{"input":[1]}', headers }).slice(0, -3));
      await new Promise(setImmediate);
      socket.end();
      const [reply] = await replies(socket, 1);
      expect(reply).toContain("400 Bad Request");
      expect(reply).toContain("INVALID_REQUEST");
      socket.destroy();
    }
  });

  test("half of which came before the server closes is told so, not cut off", async () => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber));
    const socket = await server.dial();
    const text = post({ path: "/digits/predict", body: '{"input":[1]}', headers: "" });
    const plain = { path: "/digits/predict", body: '{"input":[7]}', headers: "" };
    socket.write(post(plain));
    await replies(socket, 1);
    socket.write(text.slice(0, -3));
    // Another connection's answer: the server has read what came before.
    await ask(server, [plain], []);
    const closed = server.server.close(60_000);
    socket.write(text.slice(-3));
    const [reply] = await replies(socket, 1);
    expect(reply).toContain("503 Service Unavailable");
    await closed;
  });

  test("that never ends is told so, and so is a connection that says nothing", async () => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber), { requestTimeoutMs: 200 });
    for (const text of [
      "",
      post({ path: "/digits/predict", body: '{"input":[1]}', headers: "" }).slice(0, -1),
    ]) {
      const socket = await server.dial();
      socket.write(text);
      const [reply] = await replies(socket, 1);
      expect(reply).toContain("408 Request Timeout");
      expect(reply).toContain("REQUEST_TIMEOUT");
      socket.destroy();
    }
  });

  test("with a long line of spaces holds up nobody", async () => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber));
    const socket = await server.dial();
    const begun = process.cpuUsage();
    socket.write(post({ path: "/digits/predict", body: "[]", headers: `x:${" ".repeat(4000)}\x01\r\n` }));
    const [reply] = await replies(socket, 1);
    expect(reply).toContain("400 Bad Request");
    expect(process.cpuUsage(begun).user).toBeLessThan(2_000_000);
    socket.destroy();
  });

  test("are read right however many different heads there are, and when one comes again", async () => {
    await using server = await startTestServer(fakes(doubles, {}, firstNumber));
    const sockets = [await server.dial(), await server.dial()];
    for (const round of [1, 2]) {
      for (let index = 0; index < 300; index += 1) {
        const socket = sockets[(index + round) % 2] as Socket;
        const body = JSON.stringify({ input: [index], padding: "x".repeat(index % 7) });
        socket.write(post({ path: "/digits/predict", body, headers: `X-Request-Id: r${index}\r\n` }));
        const [reply = ""] = await replies(socket, 1);
        expect(reply).toContain(`"first":${index},`);
      }
    }
  });
});

test("large requests whose answers wait get their own, though their bytes are gone by then", async () => {
  const parts = fakes(doubles);
  const waiting: Query[] = [];
  parts.served.enqueue = (query) => void waiting.push(query);
  await using server = await startTestServer(parts);
  const count = 12;
  const answers = Array.from({ length: count }, async (_, index) => {
    const input = Array.from({ length: 784 }, (_value, at) => index + at / 1000);
    // Every third one in two pieces.
    const cuts = index % 3 === 0 ? [900] : [];
    const body = JSON.stringify({ input });
    return ask(server, [{ path: "/digits/predict", body, headers: "" }], cuts);
  });
  await until(() => waiting.length === count);
  for (const query of waiting.splice(0).toReversed()) firstNumber(query);
  for (const [index, [answer]] of (await Promise.all(answers)).entries())
    expect(answer).toContain(`"first":${index},`);
});

test("of equal requests with a cache, what is answered late costs nothing, though its bytes are gone by then", async () => {
  const parts = fakes(doubles, { cache: { maxBytes: 1e6, ttlMs: 60_000 } });
  const batches: Pending[] = [];
  parts.served.enqueue = (query) => void batches.push(new Pending(query));
  await using server = await startTestServer(parts);
  const input = Array.from({ length: 200 }, (_, at) => at / 1000);
  const predict = (timeoutMs: number): ReturnType<TestServer["post"]> =>
    server.post({ timeout_ms: timeoutMs, input });
  const succeed = (index: number): void => batches[index]?.succeed(jsonOutputs([String(index)]), 0);
  const first = predict(30_000);
  await until(() => batches.length === 1);
  const second = predict(60_000);
  while (!(await parts.metrics.text()).includes('result="joined"} 1'));
  batches[0]?.fail(new DeadlineExceededError("too late"));
  expect((await first).status).toBe(504);
  // Both are in batches now: the answer to the first one is that of the second, whose own comes last.
  expect(batches).toHaveLength(2);
  succeed(0);
  expect((await second).json).toMatchObject({ output: 0 });
  succeed(1);
  expect((await predict(30_000)).json).toMatchObject({ output: 0 });
});
