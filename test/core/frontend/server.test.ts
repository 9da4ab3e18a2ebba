// The query server over real HTTP: routes, bodies, connections and what bad clients get.
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { ModelError } from "../../../core/errors.ts";
import type { Query } from "../../../core/query/query.ts";
import { fakes, jsonOutputs, valueManifest } from "../query/fakes.ts";
import { rawPost, readAll, startTestServer, until } from "./query-client.ts";

const doubles = valueManifest("doubles");

/** Answers with the sum of the row, so that every caller can tell his own answer. */
function sum(query: Query): void {
  const { data } = query.row.tensors[0] ?? { data: new Uint8Array() };
  const total = new Float64Array(data.slice().buffer).reduce((a, b) => a + b, 0);
  setImmediate(() => query.settle({ kind: "ok", outputs: jsonOutputs([String(total)]), index: 0 }));
}

describe("paths", () => {
  test("answer health, metrics, the index and an application's contract", async () => {
    const parts = fakes(doubles, { latencyObjectiveMs: 5000 });
    await using server = await startTestServer(parts);
    await server.post({ input: [1] });
    expect((await server.get("/health/live")).json).toEqual({ live: true });
    expect((await server.get("/health/ready")).json).toEqual({ ready: true });
    const metrics = await server.get("/metrics");
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    expect(metrics.text).toContain(
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="ok",reason=""} 1',
    );
    expect((await server.get("/")).json).toMatchObject({
      applications: ["digits"],
      managementApi: "http://127.0.0.1:1338",
    });
    expect((await server.get("/digits")).json).toMatchObject({
      application: "digits",
      inputType: "doubles",
      latencyObjectiveMs: 5000,
      version: "1",
      example: { path: "/digits/predict", body: { input: [0] } },
    });
  });

  test.each([
    ["GET", "/digits/predict", 405, "METHOD_NOT_ALLOWED"],
    ["DELETE", "/digits/predict/", 405, "METHOD_NOT_ALLOWED"],
    ["POST", "/health/live", 405, "METHOD_NOT_ALLOWED"],
    ["GET", "/digits/update", 405, "METHOD_NOT_ALLOWED"],
    ["GET", "/a/b/c", 404, "ROUTE_NOT_FOUND"],
    ["GET", "/nobody", 404, "APPLICATION_NOT_FOUND"],
    ["GET", "/%ff", 400, "INVALID_REQUEST"],
    ["POST", "//predict", 404, "ROUTE_NOT_FOUND"],
  ])("%s %s is refused with %i %s", async (...[method, path, status, code]) => {
    await using server = await startTestServer(fakes(doubles));
    const reply = await fetch(server.url + path, { method });
    const body = (await reply.json()) as { error: string; message: string; details: object };
    expect([reply.status, body.error]).toEqual([status, code]);
    expect(Object.keys(body)).toEqual(["error", "message", "details"]);
    if (status === 405) expect(reply.headers.get("allow")).toMatch(/POST|GET/);
  });

  test("that could not be loaded are loaded by the next request", async () => {
    vi.doMock("../../../core/frontend/query-routes.ts", () => {
      throw new Error("EMFILE: too many open files");
    });
    onTestFinished(() => {
      vi.doUnmock("../../../core/frontend/query-routes.ts");
    });
    await using server = await startTestServer(fakes(doubles));
    expect(await server.get("/health/live")).toMatchObject({ status: 500 });
    vi.doUnmock("../../../core/frontend/query-routes.ts");
    expect(await server.get("/health/live")).toMatchObject({ status: 200 });
  });

  test("predict takes a trailing slash and ignores the query string and content type", async () => {
    await using server = await startTestServer(fakes(doubles, {}, sum));
    const reply = await server.post('{"input":[1,2]}', {
      path: "/digits/predict/?trace=1",
      headers: { "content-type": "text/csv" },
    });
    expect(reply.json).toEqual({ query_id: 1, output: 3, default: false });
  });

  test("may be whole URLs, as clients send them to proxies", async () => {
    await using server = await startTestServer(fakes(doubles, {}, sum));
    const ask = async (method: string, target: string, body = ""): Promise<string> => {
      const socket = await server.dial();
      socket.write(
        `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      return await readAll(socket);
    };
    const input = '{"input":[1,2]}';
    for (const host of ["http://models.example", "HTTPS://models.example:1337"]) {
      expect(await ask("POST", `${host}/digits/predict`, input)).toContain('"output":3');
      expect(await ask("POST", `${host}/digits/predict?a=/b`, input)).toContain('"output":3');
      expect(await ask("GET", `${host}/health/live`)).toContain('{"live":true}');
      expect(await ask("GET", host)).toContain('"applications":["digits"]');
      expect(await ask("GET", `${host}/digits/predict`)).toContain("METHOD_NOT_ALLOWED");
    }
  });

  test("an unknown application is named, with those there are", async () => {
    await using server = await startTestServer(fakes(doubles));
    const reply = await server.post({ input: [1] }, { path: "/nobody/predict" });
    expect(reply.status).toBe(404);
    expect(reply.json).toMatchObject({
      error: "APPLICATION_NOT_FOUND",
      message: 'no application "nobody"; there is digits',
    });
  });
});

describe("bodies", () => {
  test.each([
    ["gzip", gzipSync],
    ["x-gzip", gzipSync],
    ["deflate", deflateSync],
    ["deflate", deflateRawSync],
    ["identity", (body: Buffer) => body],
  ])("arrive as %s", async (encoding, pack) => {
    await using server = await startTestServer(fakes(doubles, {}, sum));
    const body = pack(Buffer.from('{"input":[1,2,3]}'));
    const reply = await server.post(body, { headers: { "content-encoding": encoding } });
    expect(reply.json.output).toBe(6);
  });

  test("in an unknown content encoding are refused before they are read", async () => {
    await using server = await startTestServer(fakes(doubles));
    const reply = await server.post("x".repeat(100_000), { headers: { "content-encoding": "br" } });
    expect(reply.status).toBe(415);
    expect(reply.json).toMatchObject({ error: "UNSUPPORTED_ENCODING", details: { encoding: "br" } });
  });

  test("that are not what their content encoding says are refused", async () => {
    await using server = await startTestServer(fakes(doubles));
    const reply = await server.post('{"input":[1]}', { headers: { "content-encoding": "gzip" } });
    expect(reply.status).toBe(400);
    expect(reply.json.message).toContain("not valid gzip");
  });

  test("that unpack to more than the limit are refused, however small they are", async () => {
    await using server = await startTestServer(fakes(doubles), { maxBodyBytes: 100_000 });
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    expect(bomb.length).toBeLessThan(100_000);
    const reply = await server.post(bomb, { headers: { "content-encoding": "gzip" } });
    expect([reply.status, reply.json.error]).toEqual([413, "BODY_TOO_LARGE"]);
    expect((await server.post({ input: [1] })).status).toBe(200);
  });

  test("over the limit by their length are refused, and the client that goes on sending sees it", async () => {
    await using server = await startTestServer(fakes(doubles), { maxBodyBytes: 10_000 });
    const socket = await server.dial();
    const body = "x".repeat(3_000_000);
    socket.write(rawPost(body));
    const text = await readAll(socket);
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(text).toContain('"error":"BODY_TOO_LARGE"');
    expect(text.toLowerCase()).toContain("connection: close");
  });

  test("over the limit in chunks are refused", async () => {
    await using server = await startTestServer(fakes(doubles), { maxBodyBytes: 10_000 });
    const client = httpRequest(`${server.url}/digits/predict`, { method: "POST" });
    client.on("error", () => undefined);
    for (let index = 0; index < 20; index += 1) client.write("1".repeat(1000));
    client.end();
    const [response] = (await once(client, "response")) as [import("node:http").IncomingMessage];
    expect(response.statusCode).toBe(413);
    response.resume();
  });

  test("in many chunks, with and without a length, arrive whole", async () => {
    await using server = await startTestServer(fakes(doubles, {}, sum));
    const values = Array.from({ length: 20_000 }, (_, index) => index);
    const body = Buffer.from(JSON.stringify({ input: values }));
    for (const headers of [{ "content-length": String(body.length) }, {}]) {
      const client = httpRequest(`${server.url}/digits/predict`, { method: "POST", headers });
      for (let at = 0; at < body.length; at += 7919) client.write(body.subarray(at, at + 7919));
      client.end();
      const [response] = (await once(client, "response")) as [import("node:http").IncomingMessage];
      let text = "";
      for await (const chunk of response) text += String(chunk);
      expect(JSON.parse(text)).toMatchObject({ output: 199_990_000 });
    }
  });

  test("are asked for before they are sent, where the client waits for it", async () => {
    await using server = await startTestServer(fakes(doubles, {}, sum), { maxBodyBytes: 5000 });
    const socket = await server.dial();
    socket.write(
      "POST /digits/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n",
    );
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(String(first)).toContain("100 Continue");
    socket.write('{"input":[1,2]}');
    const [second] = (await once(socket, "data")) as [Buffer];
    expect(String(second)).toContain('"output":3');
    socket.write(
      "POST /digits/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n",
    );
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 413 /);
  });
});

describe("connections", () => {
  test("200 concurrent requests each get their own answer", async () => {
    await using server = await startTestServer(fakes(doubles, {}, sum));
    const replies = await Promise.all(
      Array.from({ length: 200 }, (_, index) => server.post({ input: [index, 0.5] })),
    );
    expect(replies.map((reply) => reply.json.output)).toEqual(replies.map((_, index) => index + 0.5));
    expect(new Set(replies.map((reply) => reply.json.query_id)).size).toBe(200);
  });

  test("pipelined requests are answered in their order, whichever ends first", async () => {
    const held: Query[] = [];
    const parts = fakes(doubles, {}, (query) => held.push(query));
    await using server = await startTestServer(parts);
    const socket = await server.dial();
    socket.write([1, 2, 3].map((value) => rawPost(`{"input":[${value}]}`)).join(""));
    await until(() => held.length === 3);
    for (const query of held.toReversed()) sum(query);
    let text = "";
    while ((text.match(/"output"/g)?.length ?? 0) < 3) text += String((await once(socket, "data"))[0]);
    expect([...text.matchAll(/"output":(\d)/g)].map((match) => match[1])).toEqual(["1", "2", "3"]);
    socket.destroy();
  });

  test("garbage behind a request costs it nothing: its answer comes first, then the error", async () => {
    const held: Query[] = [];
    await using server = await startTestServer(fakes(doubles, {}, (query) => held.push(query)));
    const socket = await server.dial();
    socket.write(`${rawPost('{"input":[5]}')}GARBAGE\r\n\r\n`);
    await until(() => held.length === 1);
    held.forEach(sum);
    const text = await readAll(socket);
    expect(text.indexOf('"output":5')).toBeGreaterThan(0);
    expect(text.indexOf("400 Bad Request")).toBeGreaterThan(text.indexOf('"output":5'));
    expect(text).toContain('"error":"INVALID_REQUEST"');
  });

  test.each([
    ["garbage", "GARBAGE\r\n\r\n", 400, "INVALID_REQUEST"],
    ["too many headers", `GET / HTTP/1.1\r\nX-Long: ${"y".repeat(20_000)}\r\n\r\n`, 431, "HEADERS_TOO_LARGE"],
    [
      "two lengths",
      "POST /digits/predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
      400,
      "INVALID_REQUEST",
    ],
    [
      "a length and chunks",
      "POST /digits/predict HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      400,
      "INVALID_REQUEST",
    ],
  ])("%s gets a reply of our shape and is closed", async (...[, bytes, status, code]) => {
    await using server = await startTestServer(fakes(doubles));
    const socket = await server.dial();
    socket.write(bytes);
    const text = await readAll(socket);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n")))).toMatchObject({ error: code });
  });

  test.each([
    ["headers", "POST /digits/predict HTTP/1.1\r\nHost: x\r\n"],
    ["a body", 'POST /digits/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"input":'],
    ["nothing at all", ""],
  ])("a client that sends %s and then waits is told 408", async (_name, bytes) => {
    await using server = await startTestServer(fakes(doubles), { requestTimeoutMs: 200 });
    const socket = await server.dial();
    socket.write(bytes);
    const text = await readAll(socket);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('"error":"REQUEST_TIMEOUT"');
  });

  test("a caller that goes away abandons its queries, and they are counted", async () => {
    const held: Query[] = [];
    const parts = fakes(doubles, {}, (query) => held.push(query));
    await using server = await startTestServer(parts);
    const gone = new AbortController();
    const reply = server.post({ input_batch: [[1], [2]] }, { signal: gone.signal }).catch(() => "gone");
    await until(() => held.length === 2);
    gone.abort();
    expect(await reply).toBe("gone");
    await until(() => held.every((query) => query.isAbandoned));
    held.forEach(sum);
    await new Promise((resolve) => {
      setImmediate(() => setImmediate(resolve));
    });
    expect((await server.get("/metrics")).text).toContain(
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="error",reason="CALLER_GONE"} 2',
    );
  });

  test("2,000 idle connections do not keep a request waiting", async () => {
    await using server = await startTestServer(fakes(doubles, {}, sum));
    const sockets: Socket[] = [];
    for (let round = 0; round < 20; round += 1) {
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => server.dial()))));
    }
    expect((await server.post({ input: [1, 1] })).json.output).toBe(2);
    const last = sockets.at(-1) as Socket;
    last.write(rawPost('{"input":[4]}'));
    expect(String((await once(last, "data"))[0])).toContain('"output":4');
    for (const socket of sockets) socket.destroy();
  });
});

describe("a reply", () => {
  test("that cannot be built is answered all the same, and the query's queue does not feel it", async () => {
    const thrown: unknown[] = [];
    const parts = fakes(doubles, {}, (query) => {
      setImmediate(() => {
        try {
          // JSON has no way to say a bigint.
          query.settle({ kind: "error", error: new ModelError("it threw", { details: { count: 1n } }) });
        } catch (error) {
          thrown.push(error);
        }
      });
    });
    await using server = await startTestServer(parts);
    for (const body of [{ input: [1] }, { input_batch: [[1], [2]] }]) {
      const reply = await server.post(body);
      expect([reply.status, reply.json.error]).toEqual([500, "INTERNAL"]);
    }
    expect(thrown).toEqual([]);
  });

  test("that its client does not read is not held for ever", async () => {
    const text = JSON.stringify("y".repeat(30_000_000));
    const outputs = jsonOutputs([text]);
    const parts = fakes(doubles, {}, (query) => query.settle({ kind: "ok", outputs, index: 0 }));
    await using server = await startTestServer(parts, { requestTimeoutMs: 200 });
    const socket = await server.dial();
    socket.pause();
    socket.write(rawPost('{"input":[1]}'));
    await until(() => parts.served.received[0]?.isAbandoned === true);
    socket.destroy();
  });

  test("that its client reads slowly arrives whole, and so does a late one", async () => {
    const held: Query[] = [];
    await using server = await startTestServer(
      fakes(doubles, {}, (query) => held.push(query)),
      { requestTimeoutMs: 2000 },
    );
    const socket = await server.dial();
    socket.write(rawPost('{"input":[1]}'));
    await until(() => held.length === 1);
    // Time passes, and must not count.
    await new Promise((resolve) => {
      setTimeout(resolve, 2500);
    });
    const [query] = held;
    query?.settle({ kind: "ok", outputs: jsonOutputs([JSON.stringify("y".repeat(20_000_000))]), index: 0 });
    let length = 0;
    let paused = 0;
    for await (const chunk of socket) {
      length += (chunk as Buffer).length;
      if (length >= 20_000_000) break;
      if (length < 500_000 * (paused + 1)) continue;
      paused += 1;
      await new Promise((resolve) => {
        setTimeout(resolve, 60);
      });
    }
    expect(length).toBeGreaterThan(20_000_000);
    expect(paused).toBeGreaterThan(20);
  });
});

describe("closing", () => {
  test("twice waits twice", async () => {
    const held: Query[] = [];
    const server = await startTestServer(fakes(doubles, {}, (query) => held.push(query)));
    const reply = server.post({ input: [2] });
    await until(() => held.length === 1);
    const ended: string[] = [];
    const first = server.server.close(60_000).then(() => ended.push("first"));
    const second = server.server.close(60_000).then(() => ended.push("second"));
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(ended).toEqual([]);
    held.forEach(sum);
    expect((await reply).json.output).toBe(2);
    await Promise.all([first, second]);
    await server.server.close(0);
  });

  test("lets running queries finish, refuses new ones and closes their connections", async () => {
    const held: Query[] = [];
    const parts = fakes(doubles, {}, (query) => held.push(query));
    const server = await startTestServer(parts);
    const socket = await server.dial();
    socket.write(rawPost('{"input":[8]}'));
    await until(() => held.length === 1);
    const second = await server.dial();
    second.write(
      "POST /digits/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    await once(second, "data");
    const closed = server.server.close(60_000);
    second.write(`{}${rawPost("{}")}`);
    const refused = await readAll(second);
    held.forEach(sum);
    const text = await readAll(socket);
    await closed;
    expect(text).toContain('"output":8');
    expect(text.toLowerCase()).toContain("connection: close");
    expect(refused).toContain("HTTP/1.1 400");
    await expect(server.post({ input: [1] })).rejects.toThrow("fetch failed");
  });

  test("lets a client read the reply that it is reading", async () => {
    const outputs = jsonOutputs([JSON.stringify("y".repeat(20_000_000))]);
    const server = await startTestServer(
      fakes(doubles, {}, (query) => query.settle({ kind: "ok", outputs, index: 0 })),
    );
    const [idle, socket] = [await server.dial(), await server.dial()];
    socket.write(rawPost('{"input":[1]}'));
    await once(socket, "readable");
    const closed = server.server.close(60_000);
    expect(await readAll(idle)).toBe("");
    expect((await readAll(socket)).length).toBeGreaterThan(20_000_000);
    await closed;
  });

  test("cuts what is not done after the grace time", async () => {
    const parts = fakes(doubles, {}, () => undefined);
    const server = await startTestServer(parts);
    const reply = server.post({ input: [1] }).catch(() => "cut");
    await until(() => parts.served.received.length === 1);
    await server.server.close(50);
    expect(await reply).toBe("cut");
    await until(() => parts.served.received[0]?.isAbandoned === true);
  });
});

describe("listening", () => {
  test("on a port in use says so", async () => {
    await using server = await startTestServer(fakes(doubles));
    const parts = fakes(doubles);
    const { QueryServer } = await import("../../../core/frontend/server.ts");
    const { createLog } = await import("../../../core/log.ts");
    const config = {
      host: "127.0.0.1",
      port: server.port,
      maxBodyBytes: 1024,
      maxInputs: 1,
      requestTimeoutMs: 100,
    };
    const second = new QueryServer({ ...parts, log: createLog("silent"), config });
    await expect(second.listen()).rejects.toMatchObject({
      code: "PORT_IN_USE",
      details: { port: server.port },
    });
  });

  test("on an address that is not there says so", async () => {
    const parts = fakes(doubles);
    const { QueryServer } = await import("../../../core/frontend/server.ts");
    const { createLog } = await import("../../../core/log.ts");
    const config = { host: "192.0.2.1", port: 0, maxBodyBytes: 1024, maxInputs: 1, requestTimeoutMs: 100 };
    const server = new QueryServer({ ...parts, log: createLog("silent"), config });
    await expect(server.listen()).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});
