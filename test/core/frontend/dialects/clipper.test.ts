// The Clipper dialect over real HTTP: every reply, and every bad input with its code, place and message.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ModelError, OverloadedError } from "../../../../core/errors.ts";
import type { Query } from "../../../../core/query/query.ts";
import {
  FakeServed,
  type Fakes,
  fakes,
  jsonOutputs,
  tensorManifest,
  valueManifest,
  version,
} from "../../query/fakes.ts";
import { startTestServer, type TestReply } from "../query-client.ts";

const doubles = valueManifest("doubles");

/** Answers with the first number of the row, and fails on negative ones. */
function first(query: Query): void {
  const data = query.row.tensors[0]?.data ?? new Uint8Array();
  const [value = 0] = new Float64Array(data.slice().buffer);
  if (value < 0) query.settle({ kind: "error", error: new ModelError(`the model threw on ${value}`) });
  else query.settle({ kind: "ok", outputs: jsonOutputs(["null", `${value}.0`]), index: 1 });
}

async function ask(
  parts: Fakes,
  body: string | object,
  headers?: Record<string, string>,
): Promise<TestReply> {
  await using server = await startTestServer(parts);
  return await server.post(body, headers === undefined ? {} : { headers });
}

describe("replies", () => {
  test("one input gives its object, with the model's own text", async () => {
    const reply = await ask(fakes(doubles, {}, first), { input: [3] });
    expect([reply.status, reply.text]).toEqual([200, '{"query_id":1,"output":3.0,"default":false}']);
    expect(reply.headers.get("content-type")).toBe("application/json");
  });

  test("a list gives all in order; ids count up over requests", async () => {
    const parts = fakes(doubles, {}, first);
    await using server = await startTestServer(parts);
    await server.post({ input: [1] });
    const reply = await server.post({ input_batch: [[5], [6]] });
    expect(reply.text).toBe(
      '{"batch_predictions":[{"query_id":2,"output":5.0,"default":false},{"query_id":3,"output":6.0,"default":false}]}',
    );
  });

  test("a list of one gives the bare object, an empty one an empty list; input wins over input_batch", async () => {
    await using server = await startTestServer(fakes(doubles, {}, first));
    expect((await server.post({ input_batch: [[4]] })).json).toMatchObject({ output: 4, default: false });
    expect((await server.post({ input_batch: [] })).text).toBe('{"batch_predictions":[]}');
    expect((await server.post({ input: [1], input_batch: [[2], [3]] })).json.output).toBe(1);
  });

  test("an error has its status, our shape, and when to come back", async () => {
    const busy = new OverloadedError("the answer would come too late", { retryAfterS: 1.2 });
    const parts = fakes(doubles, {}, (query) => query.settle({ kind: "error", error: busy }));
    const reply = await ask(parts, { input: [1] });
    expect([reply.status, reply.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(reply.json).toEqual({
      error: "OVERLOADED",
      message: "the answer would come too late",
      details: {},
    });
  });

  test("one failed input of a list fails alone, whoever's fault it is", async () => {
    const reply = await ask(fakes(doubles, {}, first), { input_batch: [[1], [-1], ["x"], [4]] });
    expect(reply.status).toBe(200);
    expect(reply.json.batch_predictions).toEqual([
      { query_id: 1, output: 1, default: false },
      { query_id: 2, error: "MODEL_ERROR", message: "the model threw on -1", details: {} },
      {
        query_id: 3,
        error: "INVALID_INPUT",
        message: 'input_batch[2][0]: expected a finite number, got "x"',
        details: { field: "input_batch[2][0]", expected: "a finite number", got: '"x"' },
      },
      { query_id: 4, output: 4, default: false },
    ]);
  });

  test("when every input failed, the status is the first one's", async () => {
    const reply = await ask(fakes(doubles, {}, first), { input_batch: [["x"], [-2]] });
    expect(reply.status).toBe(400);
    expect(reply.json.batch_predictions.map((entry: { error: string }) => entry.error)).toEqual([
      "INVALID_INPUT",
      "MODEL_ERROR",
    ]);
  });

  test("a default output is given as it was set, with why", async () => {
    const parts = fakes(doubles, { defaultOutput: null });
    parts.isLinked = false;
    parts.changed();
    const reply = await ask(parts, { input: [1] });
    expect(reply.status).toBe(200);
    expect(reply.json).toMatchObject({ output: null, default: true, default_reason: "no-model" });
    expect(reply.json.default_explanation).toMatch(
      /^No connected models found for query; application digits/,
    );
  });

  test("without a model and a default output the error says what to do", async () => {
    const parts = fakes(doubles);
    parts.isLinked = false;
    parts.changed();
    const reply = await ask(parts, { input_batch: [[1], [2]] });
    expect(reply.status).toBe(503);
    expect(reply.json.batch_predictions[1]).toMatchObject({ query_id: 2, error: "NO_MODEL_LINKED" });
  });

  test("an output that the contract promises and the model leaves out is that query's error", async () => {
    const spec = { name: "other", datatype: "FP32", shape: [] } as const;
    const manifest = tensorManifest([{ name: "x", datatype: "FP32", shape: [1] }], [spec]);
    const reply = await ask(fakes(manifest), { input: [1] });
    expect([reply.status, reply.json.error]).toEqual([500, "INVALID_MODEL_OUTPUT"]);
  });
});

describe("versions and deadlines", () => {
  test("a version by name answers, and an unknown one is refused with those there are", async () => {
    const parts = fakes(doubles, {}, first);
    const other = version(doubles, "2");
    parts.versions.push(other);
    const two = new FakeServed(other, (query) =>
      query.settle({ kind: "ok", outputs: jsonOutputs(['"two"']), index: 0 }),
    );
    parts.running.set("digits/2", two);
    await using server = await startTestServer(parts);
    expect((await server.post({ version: "2", input: [1] })).json.output).toBe("two");
    expect((await server.post({ version: "1", input: [1] })).json.output).toBe(1);
    const unknown = await server.post({ version: "3", input: [1] });
    expect([unknown.status, unknown.json.error]).toEqual([404, "VERSION_NOT_FOUND"]);
    expect(unknown.json.message).toBe("Requested version: 3 does not exist for model: digits; it has 1, 2");
    parts.running.delete("digits/2");
    const stopped = await server.post({ version: "2", input: [1] });
    expect([stopped.status, stopped.json.error]).toEqual([503, "NO_REPLICA"]);
    expect(stopped.json.message).toContain('scale("digits", 1, "2")');
  });

  test.each([
    [undefined, undefined, 10_000, 10_000],
    [3000, undefined, 10_000, 3000],
    [undefined, "2000.5", 10_000, 2000.5],
    [3000, "2000", 10_000, 2000],
    [50_000, undefined, 10_000, 10_000],
    [50_000, undefined, undefined, 50_000],
    [undefined, undefined, undefined, Infinity],
  ])("body %s, header %s and objective %s give %s ms", async (...[body, header, objective, expected]) => {
    const parts = fakes(doubles, objective === undefined ? {} : { latencyObjectiveMs: objective });
    const timeout = body === undefined ? {} : { timeout_ms: body };
    const headers: Record<string, string> = header === undefined ? {} : { "X-Windjammer-Timeout-Ms": header };
    expect((await ask(parts, { input: [1], ...timeout }, headers)).status).toBe(200);
    const [query] = parts.served.received;
    const budget = (query?.deadlineAt ?? 0) - (query?.arrivedAt ?? 0);
    if (expected === Infinity) expect(budget).toBe(Infinity);
    else expect(budget).toBeCloseTo(expected, 3);
  });

  test.each([["0"], ["-5"], ["soon"], ["1e3"], [""], ["2147483648"]])(
    "a timeout header of %j is refused",
    async (header) => {
      const reply = await ask(fakes(doubles), { input: [1] }, { "x-windjammer-timeout-ms": header });
      expect([reply.status, reply.json.error, reply.json.details.field]).toEqual([
        400,
        "INVALID_REQUEST",
        "x-windjammer-timeout-ms",
      ]);
    },
  );
});

describe("bad bodies", () => {
  const deep = `${"[".repeat(65)}${"]".repeat(65)}`;

  test.each([
    ["", "INVALID_JSON", "Error parsing JSON: the body is empty. Expected"],
    ["{", "INVALID_JSON", "Error parsing JSON: it ends too early (offset 1). Expected"],
    [
      '{"input": x}',
      "INVALID_JSON",
      'Error parsing JSON: unexpected "x}" (offset 10). Expected {"input": …}',
    ],
    ['{"input":[1,]}', "INVALID_JSON", "(offset 12)"],
    ['{"input":[NaN]}', "INVALID_JSON", 'unexpected "NaN]}" (offset 10)'],
    ['{"input":[1,tru]}', "INVALID_JSON", "(offset 15)"],
    ['{"input":[1]', "INVALID_JSON", "(offset 12)"],
    ["{'input':[1]}", "INVALID_JSON", "(offset 1)"],
    [`{"input":${deep}}`, "INVALID_JSON", "nests deeper than 64 levels"],
    [
      "[1]",
      "INVALID_REQUEST",
      'expected a JSON object {"input": …} or {"input_batch": […]}, got an array of 1',
    ],
    ["null", "INVALID_REQUEST", "got null"],
    ["{}", "INVALID_REQUEST", "JSON object does not have required keys input or input_batch"],
    ['{"inputs":[1]}', "INVALID_REQUEST", "does not have required keys"],
    ['{"input_batch":{"a":1}}', "INVALID_INPUT", "input_batch: expected an array of inputs, got an object"],
    ['{"input":[1],"version":2}', "INVALID_REQUEST", "version: expected a string, got 2"],
    [
      '{"input":[1],"timeout_ms":"5"}',
      "INVALID_REQUEST",
      'timeout_ms: expected a number of milliseconds above 0, at most 2147483647, got "5"',
    ],
    ['{"input":[1],"timeout_ms":0}', "INVALID_REQUEST", "timeout_ms: expected"],
    ['{"input":[1],"timeout_ms":1e21}', "INVALID_REQUEST", "at most 2147483647, got 1e+21"],
    ['{"input":[1],"timeout_ms":2147483648,"version":"\\u0031"}', "INVALID_REQUEST", "timeout_ms: expected"],
    [
      '{"input":[1e999]}',
      "INVALID_INPUT",
      "input[0]: expected a finite number, got a number beyond the range of a double",
    ],
    ['{"input":[[1]]}', "INVALID_INPUT", "input[0]: expected a finite number, got an array of 1"],
    ['{"input":null}', "INVALID_INPUT", "input: expected an array (FP64 [any])"],
  ])("%s", async (body, code, message) => {
    const reply = await ask(fakes(doubles), body);
    expect([reply.status, reply.json.error]).toEqual([400, code]);
    expect(reply.json.message).toContain(message);
  });

  test("that are not UTF-8 are refused with a hint", async () => {
    await using server = await startTestServer(fakes(valueManifest("strings")));
    const reply = await server.post(Buffer.from([0x7b, 0x22, 0xff, 0xfe]));
    expect([reply.status, reply.json.error]).toEqual([400, "INVALID_JSON"]);
    expect(reply.json.message).toContain("Content-Encoding");
  });

  test("with a byte order mark are read", async () => {
    await using server = await startTestServer(fakes(doubles, {}, first));
    expect((await server.post(Buffer.from('\uFEFF{"input":[2]}'))).json.output).toBe(2);
  });

  test("with too many inputs are refused, fast path or not", async () => {
    const parts = fakes(doubles);
    await using server = await startTestServer(parts, { maxInputs: 3 });
    for (const extra of [{}, { other: 1 }]) {
      const reply = await server.post({ input_batch: [[1], [2], [3], [4]], ...extra });
      expect([reply.status, reply.json.error]).toEqual([413, "BATCH_TOO_LARGE"]);
      expect(reply.json.message).toContain("4 inputs and one request may hold 3");
    }
    expect(parts.served.received).toEqual([]);
  });

  test("are counted, as failures of the version that they were for", async () => {
    const parts = fakes(doubles);
    await ask(parts, "{");
    await ask(parts, '{"input":["a"]}');
    const text = await parts.metrics.text();
    const series = 'windjammer_queries_total{application="digits",model="digits",version="1",kind="error"';
    expect(text).toContain(`${series},reason="INVALID_JSON"} 1`);
    expect(text).toContain(`${series},reason="INVALID_INPUT"} 1`);
    // The second was answered, with an error for its only input.
    expect(text).toContain('windjammer_refused_total{dialect="clipper",reason="INVALID_JSON"} 1');
  });
});

describe("64-bit integers", () => {
  test("keep every digit from the body to the row", async () => {
    const parts = fakes(tensorManifest([{ name: "id", datatype: "UINT64", shape: [2] }]));
    const reply = await ask(parts, '{"input":[9007199254740993,18446744073709551615]}');
    expect(reply.status).toBe(200);
    const data = parts.served.received[0]?.row.tensors[0]?.data ?? new Uint8Array();
    expect([...new BigUint64Array(data.slice().buffer)]).toEqual([9007199254740993n, 18446744073709551615n]);
    const tooLarge = await ask(parts, '{"input":[1,18446744073709551616]}');
    expect(tooLarge.json.message).toBe(
      "input[1]: expected an integer from 0 to 18446744073709551615, got 18446744073709551616",
    );
  });

  test("large numbers of a floating input beside them are taken as ever", async () => {
    const parts = fakes(
      tensorManifest([
        { name: "id", datatype: "INT64", shape: [] },
        { name: "x", datatype: "FP64", shape: [2] },
      ]),
    );
    const { status } = await ask(parts, '{"input":{"id":9007199254740993.0,"x":[9007199254740992,1e17]}}');
    expect(status).toBe(200);
    const [id, x] = parts.served.received[0]?.row.tensors ?? [];
    expect([...new BigInt64Array((id?.data ?? new Uint8Array()).slice().buffer)]).toEqual([
      9007199254740993n,
    ]);
    expect([...new Float64Array((x?.data ?? new Uint8Array()).slice().buffer)]).toEqual([2 ** 53, 1e17]);
  });

  test("keep them beside a JSON input too", async () => {
    const manifest = tensorManifest([
      { name: "id", datatype: "INT64", shape: [] },
      { name: "note", datatype: "BYTES", shape: [], contentType: "json" },
    ]);
    const parts = fakes(manifest);
    await ask(parts, '{"input":{"id":1,"note":{"ref":9007199254740993}}}');
    const note = parts.served.received[0]?.row.tensors[1]?.data ?? new Uint8Array();
    expect(Buffer.from(note).toString("utf8", 4)).toBe('{"ref":9007199254740993}');
  });
});

test("5,000 bodies of any kind get documented statuses only, and the server goes on", async () => {
  const key = fc.constantFrom("input", "input_batch", "version", "timeout_ms", "x");
  const object = fc.dictionary(key, fc.jsonValue({ maxDepth: 4 }), { maxKeys: 4 });
  const numbers = fc.array(fc.oneof(fc.double(), fc.integer(), fc.constantFrom("1", null, 1e39)), {
    maxLength: 6,
  });
  const nearly = fc.record({ input: numbers, input_batch: fc.array(numbers) }, { requiredKeys: [] });
  const json = fc.oneof(object, nearly, fc.jsonValue()).map((value) => Buffer.from(JSON.stringify(value)));
  const damaged = fc.tuple(json, fc.nat(), fc.nat(255)).map(([body, at, byte]) => {
    const copy = Buffer.from(body);
    if (copy.length > 0) copy[at % copy.length] = byte;
    return copy;
  });
  const cut = fc.tuple(json, fc.nat()).map(([body, at]) => body.subarray(0, at % (body.length + 1)));
  const noise = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
  const bodies = fc.sample(fc.oneof(json, damaged, cut, noise), 5000);
  const manifests = [
    doubles,
    valueManifest("json"),
    valueManifest("bytes"),
    tensorManifest([{ name: "input", datatype: "FP32", shape: [2, -1] }]),
    tensorManifest([{ name: "input", datatype: "INT64", shape: [-1] }]),
  ];
  const documented = new Set([200, 400, 404, 413]);
  for (const [index, manifest] of manifests.entries()) {
    await using server = await startTestServer(fakes(manifest));
    const share = bodies.slice(index * 1000, (index + 1) * 1000);
    for (let at = 0; at < share.length; at += 50) {
      const replies = await Promise.all(share.slice(at, at + 50).map((body) => server.post(body)));
      for (const reply of replies) {
        expect(documented.has(reply.status), `${reply.status} ${reply.text}`).toBe(true);
        const { error, batch_predictions: list } = reply.json;
        expect(reply.status === 200 || (error ?? list) !== undefined).toBe(true);
      }
    }
    expect((await server.get("/health/live")).status).toBe(200);
  }
});
