// The management API over HTTP: what it answers, what it refuses, and that its document tells the truth.
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { packFolder } from "../../../core/deploy/bundle.ts";
import { InvalidOptionsError, PortInUseError } from "../../../core/errors.ts";
import type { OpenApiDocument } from "../../../core/frontend/openapi/document.ts";
import { errorSchema } from "../../../core/frontend/schemas.ts";
import type { Deployment } from "../../../core/types.ts";
import { type Reply, startAdmin, type TestAdmin } from "../../helpers/admin.ts";
import { answering, writeBundle } from "../../helpers/bundles.ts";

const API = "/api/v1";
const NO_BUNDLE = "0".repeat(64);

function expectError(
  reply: Reply,
  status: number,
  code: string,
): { message: string; details: Record<string, unknown> } {
  expect(reply.json).toMatchObject({ error: code });
  expect(reply.status).toBe(status);
  expect(reply.headers["content-type"]).toContain("application/json");
  return errorSchema.parse(reply.json);
}

describe("with a model deployed", () => {
  let admin: TestAdmin;
  let first: Deployment;

  beforeAll(async () => {
    admin = await startAdmin();
    first = await admin.deploy({ name: "echo", version: "1" });
    const second = await admin.deploy({ name: "echo", version: "2", output: "[input]" });
    expect([first.state, second.state]).toEqual(["succeeded", "succeeded"]);
  });
  afterAll(() => admin.close());

  test("every mounted route is in the OpenAPI document, and nothing else is", async () => {
    const { json, status } = await admin.send("GET", `${API}/openapi.json`);
    expect(status).toBe(200);
    const document = json as OpenApiDocument;
    expect(document.openapi).toBe("3.1.0");
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const mounted = admin.routes.map(({ method, path }) => `${method} ${path}`);
    expect(documented.toSorted()).toEqual(mounted.toSorted());
    // Whether a route is mounted is seen by a method it does not have: 405, not 404.
    for (const path of Object.keys(document.paths)) {
      const reply = await admin.send("PATCH", path.replaceAll(/\{\w+\}/g, "x"));
      expect([path, reply.status]).toEqual([path, 405]);
    }
  });

  test("every reference of the document leads somewhere, and operation ids are unique", async () => {
    const { json, text } = await admin.send("GET", `${API}/openapi.json`);
    const { components, paths } = json as OpenApiDocument;
    const references = new Set(text.match(/#\/[^"]+/g));
    expect(references.size).toBeGreaterThan(5);
    for (const reference of references) {
      const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1];
      expect([reference, Object.keys(components.schemas).includes(name ?? "")]).toEqual([reference, true]);
    }
    const ids = Object.values(paths).flatMap((operations) =>
      Object.values(operations).map((operation) => operation["operationId"]),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("replies match their schemas", async () => {
    const replica = admin.serving.replicas()[0]?.id ?? "";
    const bundle = admin.registry.version("echo", "1").bundle;
    const values: Record<string, string> = {
      "{name}": "echo",
      "{model}": "echo",
      "{version}": "2",
      "{id}": first.id,
      "{hash}": bundle,
    };
    const reads = admin.routes.filter(({ method, response }) => method === "GET" && response !== undefined);
    expect(reads.length).toBeGreaterThan(14);
    for (const route of reads) {
      const ids = route.path.includes("/replicas/") ? { ...values, "{id}": replica } : values;
      const path = route.path.replaceAll(/\{\w+\}/g, (part) => ids[part] ?? part);
      const reply = await admin.send("GET", path, { headers: { accept: "application/json" } });
      expect([path, reply.status]).toEqual([path, route.status]);
      expect([path, route.response?.safeParse(reply.json).error?.issues ?? []]).toEqual([path, []]);
    }
  });

  test("creates, replaces and removes an application and its link", async () => {
    const path = `${API}/applications/side`;
    const body = { inputType: "json", latencyObjectiveMs: 20, defaultOutput: null };
    expect((await admin.send("PUT", path, { body })).json).toEqual({ name: "side", ...body });
    expect((await admin.send("PUT", path, { body: { inputType: "json" } })).json).toEqual({
      name: "side",
      inputType: "json",
    });
    expect((await admin.send("PUT", `${path}/links/echo`)).status).toBe(204);
    expect(admin.registry.linkOf("side")?.model).toBe("echo");
    expect((await admin.send("DELETE", `${path}/links/echo`)).status).toBe(204);
    expect((await admin.send("DELETE", path)).status).toBe(204);
    expectError(await admin.send("GET", path), 404, "APPLICATION_NOT_FOUND");
  });

  test("shows what runs of a version, and scales it", async () => {
    const path = `${API}/models/echo/versions/2`;
    const scaled = await admin.send("PUT", `${path}/replicas`, { body: { replicas: 2 } });
    expect(scaled.json).toMatchObject({
      running: { readyCount: 2, queueLength: 0, policy: { policy: "slo" } },
    });
    expect((await admin.send("GET", `${API}/models/echo/versions/1`)).json).toMatchObject({ running: null });
  });

  test("rolls back as a deployment, whose events end with its outcome", async () => {
    const reply = await admin.send("PUT", `${API}/models/echo/current`, { body: { version: "1" } });
    expect(reply.status).toBe(202);
    const { id } = reply.json as Deployment;
    expect(reply.headers.location).toBe(`${API}/deployments/${id}`);
    const events = await admin.send("GET", `${API}/deployments/${id}/events`);
    expect(events.headers["content-type"]).toContain("text/event-stream");
    const blocks = events.text.trimEnd().split("\n\n");
    expect(blocks.at(-1)).toMatch(/^event: end\ndata: \{.*"state":"succeeded"/);
    expect(blocks[1]).toMatch(/^id: 1\nevent: event\ndata: \{"sequence":1,/);
    const after = await admin.send("GET", `${API}/deployments/${id}/events`, {
      headers: { "last-event-id": "2" },
    });
    expect(after.text).not.toContain("id: 2\n");
    expect(after.text).toContain("id: 3\n");
    expect((await admin.send("GET", `${API}/models/echo`)).json).toMatchObject({ currentVersion: "1" });
  });

  test("refuses to delete the current version, deletes another", async () => {
    expectError(await admin.send("DELETE", `${API}/models/echo/versions/1`), 409, "IN_USE");
    expectError(await admin.send("DELETE", `${API}/models/echo`), 409, "IN_USE");
    expect((await admin.send("DELETE", `${API}/models/echo/versions/2`)).status).toBe(204);
    expectError(await admin.send("GET", `${API}/models/echo/versions/2`), 404, "VERSION_NOT_FOUND");
  });

  test("gives metrics as Prometheus text", async () => {
    const reply = await admin.send("GET", "/metrics");
    expect(reply.headers["content-type"]).toMatch(/^text\/plain/);
    expect(reply.text).toContain("# TYPE windjammer_");
  });

  test("follows the log of a replica until it has gone", async () => {
    const replica = admin.runtime.started.at(-1);
    replica?.lines.push({ at: new Date().toISOString(), stream: "stdout", text: "hello" });
    const path = `${API}/replicas/${replica?.id}/logs`;
    expect((await admin.send("GET", path)).json).toMatchObject([{ text: "hello" }]);
    const followed = await admin.send("GET", `${path}?follow=true&tail=5`);
    expect(followed.text).toContain('event: line\ndata: {"at":');
    expect(followed.text).toMatch(/event: end\ndata: \{\}\n\n$/);
  });
});

describe("what is refused", () => {
  let admin: TestAdmin;

  beforeAll(async () => {
    admin = await startAdmin({ config: { requestTimeoutMs: 2000, maxBundleBytes: 100_000 } });
  });
  afterAll(() => admin.close());

  test("malformed JSON, with its position", async () => {
    const headers = { "content-type": "application/json" };
    const reply = await admin.send("POST", `${API}/deployments`, { headers, body: '{"name": nope}' });
    const { message } = expectError(reply, 400, "INVALID_JSON");
    expect(message).toMatch(/unexpected ".*ope\}" \(offset \d+\)/);
    expectError(await admin.send("POST", `${API}/deployments`, { headers, body: "" }), 400, "INVALID_JSON");
    const deep = `${"[".repeat(10_000)}${"]".repeat(10_000)}`;
    expectError(await admin.send("POST", `${API}/deployments`, { headers, body: deep }), 400, "INVALID_JSON");
  });

  test.each([
    [{ name: "x", version: "1" }, "bundle: expected string, got nothing"],
    [{ name: "x", version: "1", bundle: NO_BUNDLE, replicas: "2" }, 'replicas: expected number, got "2"'],
    [
      { name: "x", version: "1", bundle: NO_BUNDLE, replika: 2 },
      "unknown field 'replika'; did you mean 'replicas'?",
    ],
    [{ name: "../x", version: "1", bundle: NO_BUNDLE }, "name: expected a name"],
    [[1], "expected object, got [1]"],
  ])("a deployment request %j", async (body, problem) => {
    const reply = await admin.send("POST", `${API}/deployments`, { body });
    expect(expectError(reply, 400, "INVALID_REQUEST").message).toContain(problem);
  });

  test("a deployment of a bundle that is not stored", async () => {
    const body = { name: "x", version: "1", bundle: NO_BUNDLE };
    expectError(await admin.send("POST", `${API}/deployments`, { body }), 404, "BUNDLE_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/bundles/${NO_BUNDLE}`), 404, "BUNDLE_NOT_FOUND");
    expect((await admin.send("HEAD", `${API}/bundles/${NO_BUNDLE}`)).status).toBe(404);
  });

  test("names and parameters out of bounds", async () => {
    for (const path of [
      "/applications/UPPER",
      `/models/${"a".repeat(101)}`,
      "/applications/a%2fb",
      "/bundles/xyz",
    ])
      expectError(await admin.send("GET", API + path), 400, "INVALID_REQUEST");
    expectError(await admin.send("GET", `${API}/applications/%zz`), 400, "INVALID_REQUEST");
    expectError(await admin.send("GET", `${API}/replicas/none/logs?tail=x`), 400, "INVALID_REQUEST");
    const typo = await admin.send("GET", `${API}/replicas/none/logs?tial=1`);
    expect(expectError(typo, 400, "INVALID_REQUEST").message).toContain("did you mean 'tail'?");
  });

  test("what does not exist", async () => {
    expectError(await admin.send("GET", `${API}/models/none`), 404, "MODEL_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/models/none/versions`), 404, "MODEL_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/replicas/none/logs`), 404, "REPLICA_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/replicas/none/logs?follow=1`), 404, "REPLICA_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/deployments/none`), 404, "DEPLOYMENT_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/deployments/none/events`), 404, "DEPLOYMENT_NOT_FOUND");
    expectError(await admin.send("GET", "/nowhere"), 404, "ROUTE_NOT_FOUND");
    expectError(await admin.send("GET", `${API}/Server`), 404, "ROUTE_NOT_FOUND");
    const reply = await admin.send("POST", `${API}/applications`);
    expectError(reply, 405, "METHOD_NOT_ALLOWED");
    expect(reply.headers.allow).toBe("GET, HEAD");
  });

  test("bodies that are not JSON, too large, or in an unknown encoding", async () => {
    const path = `${API}/applications/x`;
    const form = { "content-type": "application/x-www-form-urlencoded" };
    expectError(await admin.send("PUT", path, { headers: form, body: "a=1" }), 415, "UNSUPPORTED_ENCODING");
    expectError(await admin.send("PUT", path, { body: Buffer.from("{}") }), 415, "UNSUPPORTED_ENCODING");
    const odd = { "content-type": "application/json", "content-encoding": "pied-piper" };
    expectError(await admin.send("PUT", path, { headers: odd, body: "{}" }), 415, "UNSUPPORTED_ENCODING");
    const body = { inputType: "json", defaultOutput: "x".repeat(33 * 2 ** 20) };
    const { message } = expectError(await admin.send("PUT", path, { body }), 413, "BODY_TOO_LARGE");
    expect(message).toContain("smaller examples");
  });

  test("a body that does not come", async () => {
    const socket = connect(admin.port, "127.0.0.1");
    socket.write(
      `PUT ${API}/applications/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
    );
    const [data] = (await once(socket, "data")) as [Buffer];
    expect(data.toString()).toContain("408");
    expect(data.toString()).toContain("REQUEST_TIMEOUT");
    socket.destroy();
  });

  test("web pages: another Host, another Origin", async () => {
    for (const host of [
      "evil.example",
      "evil.example:1338",
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "[::2]",
    ])
      expectError(await admin.send("GET", `${API}/server`, { headers: { host } }), 400, "INVALID_REQUEST");
    for (const origin of ["https://evil.example", "null", "http://localhost:1"])
      expectError(await admin.send("GET", `${API}/server`, { headers: { origin } }), 400, "INVALID_REQUEST");
    const own = { origin: `http://127.0.0.1:${admin.port}` };
    expect((await admin.send("GET", `${API}/server`, { headers: own })).status).toBe(200);
    for (const host of ["localhost", "[::1]:1338", "127.1.2.3"])
      expect((await admin.send("GET", `${API}/server`, { headers: { host } })).status).toBe(200);
    expect((await admin.send("GET", "/health/live", { headers: { host: "evil.example" } })).status).toBe(200);
  });

  test("bundles that are none", async () => {
    const path = `${API}/bundles`;
    const tar = { "content-type": "application/x-tar" };
    expectError(await admin.send("POST", path, { body: { a: 1 } }), 415, "UNSUPPORTED_ENCODING");
    expectError(
      await admin.send("POST", path, { headers: tar, body: "not a tar".repeat(1000) }),
      400,
      "INVALID_BUNDLE",
    );
    expectError(await admin.send("POST", path, { headers: tar, body: "" }), 400, "INVALID_BUNDLE");
    const huge = { ...tar, "content-length": String(10 ** 9) };
    const socket = connect(admin.port, "127.0.0.1");
    const head = Object.entries(huge).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\n${head.join("")}\r\nabc`);
    const [data] = (await once(socket, "data")) as [Buffer];
    expect(data.toString()).toContain("BODY_TOO_LARGE");
    socket.destroy();
    const large = join(admin.folder, "large");
    await writeBundle(large, { source: `// ${"x".repeat(150_000)}\n${answering("1")}` });
    const reply = await admin.send("POST", path, { headers: tar, body: await buffer(packFolder(large)) });
    expect([400, 413]).toContain(reply.status);
    expect(await admin.bundles.hashes()).toEqual([]);
  });

  test("uploads that stop half way leave nothing, whether the caller goes or falls silent", async () => {
    const source = join(admin.folder, "half");
    await writeBundle(source, { source: answering("1") });
    const whole = await buffer(packFolder(source));
    const half = `POST ${API}/bundles HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\nContent-Length: ${whole.length}\r\n\r\n${whole.subarray(0, 700).toString("latin1")}`;
    const gone = connect(admin.port, "127.0.0.1");
    gone.write(half, "latin1");
    await once(gone, "ready");
    gone.destroy();
    const silent = connect(admin.port, "127.0.0.1");
    silent.write(half, "latin1");
    const [data] = (await once(silent, "data")) as [Buffer];
    expect(data.toString()).toContain("REQUEST_TIMEOUT");
    silent.destroy();
    expect(await admin.bundles.hashes()).toEqual([]);
    // And the server goes on.
    const reply = await admin.send("POST", `${API}/bundles`, {
      headers: { "content-type": "application/x-tar" },
      body: whole,
    });
    expect(reply.status).toBe(201);
    const { bundle } = reply.json as { bundle: string };
    expect(reply.headers.location).toBe(`${API}/bundles/${bundle}`);
    expect((await admin.send("HEAD", `${API}/bundles/${bundle}`)).status).toBe(200);
  });
});

describe("an upload that the server takes its time over", () => {
  const IDLE_MS = 1500;

  test.each([
    ["before it reads", "before"],
    ["after all of it has come", "after"],
  ])("%s is not taken for one that stopped", async (_, when) => {
    await using admin = await startAdmin({ config: { requestTimeoutMs: IDLE_MS } });
    const receive = admin.bundles.receive.bind(admin.bundles);
    vi.spyOn(admin.bundles, "receive").mockImplementation(async (stream) => {
      if (when === "before") await sleep(2 * IDLE_MS);
      const stored = await receive(stream);
      if (when === "after") await sleep(2 * IDLE_MS);
      return stored;
    });
    const source = join(admin.folder, "slow");
    // More than all buffers on the way hold together.
    await writeBundle(source, { source: `// ${"x".repeat(16 * 2 ** 20)}\n${answering("1")}` });
    const reply = await admin.send("POST", `${API}/bundles`, {
      headers: { "content-type": "application/x-tar" },
      body: await buffer(packFolder(source)),
    });
    expect(reply.json).toEqual({ bundle: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(reply.status).toBe(201);
  });
});

describe("token", () => {
  const TOKEN = "correct horse battery".replaceAll(" ", "-");

  test("is needed by everything but health", async () => {
    await using admin = await startAdmin({ config: { token: TOKEN } });
    for (const authorization of [undefined, "Bearer", "Bearer wrong", `Basic ${TOKEN}`, `Bearer ${TOKEN}x`]) {
      const headers = authorization === undefined ? {} : { authorization };
      const reply = await admin.send("GET", `${API}/server`, { headers });
      expectError(reply, 401, "UNAUTHORIZED");
      expect(reply.headers["www-authenticate"]).toMatch(/^Bearer/);
      expect(reply.text).not.toContain(TOKEN);
    }
    expectError(await admin.send("GET", "/metrics"), 401, "UNAUTHORIZED");
    expectError(await admin.send("GET", "/nowhere"), 401, "UNAUTHORIZED");
    const headers = { authorization: `Bearer ${TOKEN}`, host: "models.example" };
    expect((await admin.send("GET", `${API}/server`, { headers })).status).toBe(200);
    expect((await admin.send("GET", "/health/ready")).json).toMatchObject({ status: "ready" });
  });

  test("is needed to listen where other machines are", async () => {
    await expect(startAdmin({ config: { host: "0.0.0.0" } })).rejects.toThrow(InvalidOptionsError);
  });
});

test("is ready while a version has no replica, and names it", async () => {
  await using admin = await startAdmin();
  await admin.deploy({ name: "well", version: "1" });
  await admin.deploy({ name: "ill", version: "7" });
  const ready = (): Promise<Reply> => admin.send("GET", "/health/ready");
  expect((await ready()).json).toEqual({ status: "ready", withoutReplica: [] });
  // What a version that cannot be opened after a restart comes to.
  await admin.serving.close("ill", "7", 0);
  const reply = await ready();
  expect(reply.status).toBe(200);
  expect(reply.json).toEqual({ status: "ready", withoutReplica: [{ model: "ill", version: "7" }] });
  const { json } = await admin.send("GET", `${API}/openapi.json`);
  const responses = (json as OpenApiDocument).paths["/health/ready"]?.["get"]?.["responses"];
  expect(Object.keys(responses as object).toSorted()).toEqual(["200", "503", "default"]);
});

test("a port in use is named, with what to do", async () => {
  await using admin = await startAdmin();
  const error = await startAdmin({ adminPort: admin.port }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PortInUseError);
  expect(String(error)).toContain(String(admin.port));
  expect(String(error)).toContain("--admin-port");
});

test("close ends streams without their end, so that callers know it broke off", async () => {
  const admin = await startAdmin();
  const released = Promise.withResolvers<void>();
  admin.runtime.script = async ({ inputs }) => {
    await released.promise;
    return { outputs: inputs };
  };
  const bundle = await admin.upload();
  const body = { name: "slow", version: "1", bundle, examples: [{ input: 1 }] };
  const { id } = (await admin.send("POST", `${API}/deployments`, { body })).json as Deployment;
  const response = await fetch(`${admin.url}${API}/deployments/${id}/events`);
  await expect.poll(() => admin.runtime.started.length).toBe(1);
  await admin.server.close(1000);
  const text = await response.text();
  expect(text).toContain("event: event");
  expect(text).not.toContain("event: end");
  released.resolve();
  await admin.close();
});
