// What the rows of an inference are in goes with its reply, and not before: in every form of body, on every way in.
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { OverloadedError } from "../../../../core/errors.ts";
import type { Query } from "../../../../core/query/query.ts";
import { fakes, type Fakes, jsonOutputs, tensorManifest } from "../../query/fakes.ts";
import { startTestServer, type TestReply, type TestServer, until } from "../query-client.ts";

const WIDTH = 512;
const INFER = "/v2/models/digits/infer";

/** Holds every query. */
function holding(options: Parameters<typeof fakes>[1] = {}): Fakes {
  return fakes(tensorManifest([{ name: "x", datatype: "FP32", shape: [WIDTH] }]), options, () => {});
}

function numbers(rows: number, seed = 1): readonly number[] {
  return Array.from({ length: rows * WIDTH }, (_, index) => ((index + seed) % 4096) / 8);
}

interface Form {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** It is unpacked into memory that holds more, which stays. */
  readonly isPartOfMore?: boolean;
}

function json(rows: number, seed = 1): Form {
  const tensor = { name: "x", datatype: "FP32", shape: [rows, WIDTH], data: numbers(rows, seed) };
  return { path: INFER, body: Buffer.from(JSON.stringify({ inputs: [tensor] })) };
}

function binary(rows: number, seed = 1): Form {
  const data = Buffer.from(new Float32Array(numbers(rows, seed)).buffer);
  const tensor = {
    name: "x",
    datatype: "FP32",
    shape: [rows, WIDTH],
    parameters: { binary_data_size: data.length },
  };
  const header = Buffer.from(JSON.stringify({ inputs: [tensor] }));
  const headers = { "inference-header-content-length": String(header.length) };
  return { path: INFER, headers, body: Buffer.concat([header, data]) };
}

function raw(): Form {
  const body = Buffer.from(new Float32Array(numbers(1)).buffer);
  return { path: INFER, headers: { "inference-header-content-length": "0" }, body };
}

function instances(rows: number): Form {
  const all = numbers(rows);
  const lists = Array.from({ length: rows }, (_, row) => all.slice(row * WIDTH, (row + 1) * WIDTH));
  return { path: "/v1/models/digits:predict", body: Buffer.from(JSON.stringify({ instances: lists })) };
}

function zipped(form: Form): Form {
  return { ...form, body: gzipSync(form.body), headers: { ...form.headers, "content-encoding": "gzip" } };
}

function send(server: TestServer, { path, headers, body }: Form): Promise<TestReply> {
  return server.post(body, headers === undefined ? { path } : { path, headers });
}

function numbersOf({ row }: Query): readonly number[] {
  const { data } = row.tensors[0] ?? {};
  return Array.from(new Float32Array(new Uint8Array(data ?? []).buffer));
}

/** Bytes that are left of a row; none when its memory has gone. */
function bytesLeft({ row }: Query): number {
  return row.tensors[0]?.data.byteLength ?? -1;
}

const OK = { kind: "ok", outputs: jsonOutputs(["7"]), index: 0 } as const;

const JOINED = /^windjammer_cache_total\{.*result="joined".*\} 1$/m;

/** Bodies above 256 KiB go through node:http. */
const FORMS: readonly (readonly [name: string, rows: number, form: Form])[] = [
  ["JSON", 3, json(3)],
  ["JSON, large", 200, json(200)],
  ["JSON, compressed", 3, zipped(json(3))],
  [
    "JSON in the whole way's hands",
    3,
    { ...json(3), body: Buffer.concat([Buffer.from("\ufeff"), json(3).body]) },
  ],
  ["binary", 3, binary(3)],
  ["binary, large", 200, binary(200)],
  ["binary, compressed", 3, { ...zipped(binary(3)), isPartOfMore: true }],
  ["raw", 1, raw()],
  ["a list of instances", 3, instances(3)],
  ["a large list of instances", 200, instances(200)],
];

describe("the memory of an inference", () => {
  test.each(FORMS)("is there for every row until the last one is answered: %s", async (_name, rows, form) => {
    const parts = holding();
    await using server = await startTestServer(parts);
    const reply = send(server, form);
    await until(() => parts.served.received.length === rows);
    // Whatever else comes takes memory of its own, if any was given back too early.
    const others = [send(server, json(20, 7)), send(server, binary(20, 9))];
    await until(() => parts.served.received.length === rows + 40);
    const own = parts.served.received.slice(0, rows);
    const expected = numbers(rows);
    for (const [index, query] of own.entries()) {
      expect(numbersOf(query)).toEqual(expected.slice(index * WIDTH, (index + 1) * WIDTH));
      query.settle(OK);
    }
    if (form.isPartOfMore !== true) expect(own.map(bytesLeft)).toEqual(own.map(() => 0));
    expect((await reply).status).toBe(200);
    const rest = parts.served.received.slice(rows);
    expect(rest.map(bytesLeft)).toEqual(rest.map(() => WIDTH * 4));
    for (const query of rest) query.settle(OK);
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual([200, 200]);
  });

  test.each([
    ["JSON", json],
    ["binary", binary],
  ])("of a query that joined an equal one outlasts that one's: %s", async (_name, form) => {
    const parts = holding({ cache: { maxBytes: 2 ** 20, ttlMs: 60_000 } });
    await using server = await startTestServer(parts);
    const { received } = parts.served;
    const replies = [send(server, form(1))];
    await until(() => received.length === 1);
    replies.push(send(server, form(1)));
    await expect.poll(() => parts.metrics.text()).toMatch(JOINED);
    const [first] = received as [Query];
    // Whoever joined takes over, with a row of its own.
    first.settle({ kind: "error", error: new OverloadedError("too many") });
    expect((await replies[0])?.status).toBe(503);
    await until(() => received.length === 2);
    const second = received[1] as Query;
    expect(numbersOf(second)).toEqual(numbers(1));
    // A copy of the first one's is kept for a prediction that comes late.
    expect(numbersOf(first)).toEqual(numbers(1));
    first.late?.(OK);
    expect((await replies[1])?.status).toBe(200);
    const third = await send(server, form(1));
    expect(third.status).toBe(200);
    expect(received.length).toBe(2);
  });

  test("of a request that is refused, or whose caller has gone, troubles no other", async () => {
    const parts = holding();
    await using server = await startTestServer(parts);
    const { received } = parts.served;
    const broken = binary(3);
    const short = { ...broken, body: broken.body.subarray(0, -4) };
    expect((await send(server, short)).status).toBe(400);
    const gone = new AbortController();
    const { path, headers = {}, body } = binary(3);
    const abandoned = server.post(body, { path, headers, signal: gone.signal });
    await until(() => received.length === 3);
    gone.abort();
    await expect(abandoned).rejects.toThrow();
    await until(() => received.every((query) => query.isAbandoned));
    const reply = send(server, binary(3, 5));
    await until(() => received.length === 6);
    // The queue still holds those of the caller that has gone.
    for (const [index, query] of received.entries()) {
      const all = numbers(3, index < 3 ? 1 : 5);
      const row = index % 3;
      expect(numbersOf(query)).toEqual(all.slice(row * WIDTH, (row + 1) * WIDTH));
    }
    for (const query of received) query.settle(OK);
    expect((await reply).status).toBe(200);
    expect(received.map(bytesLeft)).toEqual(received.map(() => 0));
  });
});
