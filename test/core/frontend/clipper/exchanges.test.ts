// Replays the recorded exchanges with a whole server and one connected container: status, content type, every byte.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serverOptionsSchema } from "../../../../core/config.ts";
import { startServer, type RunningServer } from "../../../../core/windjammer.ts";
import { CHANGING, PREDICTING, type Recorded, REGISTERING } from "../../../fixtures/clipper/exchanges.ts";
import { TestContainer } from "../../../helpers/clipper-container.ts";
import { modelOf } from "../../../helpers/clipper-server.ts";

let server: RunningServer;
let container: TestContainer | undefined;

beforeAll(async () => {
  server = await startServer({ port: 0, adminPort: 0, clipper: { adminPort: 0, rpcPort: 0 } });
});

afterAll(async () => {
  await container?.close();
  await server.close();
});

async function replay({ to, request, body, status, reply }: Recorded): Promise<void> {
  const [method = "", path = ""] = request.split(" ");
  const url = to === "query" ? server.queryUrl : server.clipper?.adminUrl;
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
  const text = await response.text();
  expect([response.status, text]).toEqual([status, reply]);
  if (text !== "") expect(response.headers.get("content-type")).toBe("application/json");
}

const named = (all: readonly Recorded[]): readonly (readonly [string, Recorded])[] =>
  all.map((one, index) => [`${index + 1}: ${one.request} ${one.body ?? ""} → ${one.status}`, one]);

describe("Clipper's wire, to the byte", () => {
  test.each(named(REGISTERING))("registering %s", (_, recorded) => replay(recorded));

  test("a container of digits:1 connects", async () => {
    container = new TestContainer({
      endpoint: server.clipper?.rpcEndpoint ?? "",
      model: "digits",
      inputType: 3,
    });
    await expect
      .poll(async () => {
        const response = await fetch(`${server.clipper?.adminUrl}/admin/get_all_containers`, {
          method: "POST",
          body: '{"verbose": false}',
        });
        return response.text();
      })
      .toBe('["digits:1:1"]');
  });

  test.each(named(PREDICTING))("predicting %s", (_, recorded) => replay(recorded));
  test.each(named(CHANGING))("changing %s", (_, recorded) => replay(recorded));
});

test("Clipper's ports are off, and its own when they are on", () => {
  expect(serverOptionsSchema.parse({}).clipper).toBeUndefined();
  expect(serverOptionsSchema.parse({ clipper: true }).clipper).toMatchObject({
    adminPort: 1339,
    rpcPort: 7000,
  });
});

describe("where Clipper gives no reply, or a wrong one", () => {
  test.each([
    ["POST", "/admin/nonsense", 404, "ROUTE_NOT_FOUND"],
    ["GET", "/admin/add_app", 405, "METHOD_NOT_ALLOWED"],
    ["POST", "/admin/ping", 405, "METHOD_NOT_ALLOWED"],
    ["GET", "/", 404, "ROUTE_NOT_FOUND"],
  ])("%s %s is %i %s", async (...[method, path, status, code]) => {
    const response = await fetch(`${server.clipper?.adminUrl}${path}`, { method });
    expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([status, code]);
  });

  test.each([
    ["http://203.0.113.9:1339", undefined],
    [undefined, "https://evil.example"],
  ])("what a web page could send (Host %s, Origin %s) is refused", async (host, origin) => {
    const { request } = await import("node:http");
    const { port } = new URL(server.clipper?.adminUrl ?? "");
    const headers = { ...(host === undefined ? {} : { host }), ...(origin === undefined ? {} : { origin }) };
    const status = await new Promise((resolve, reject) => {
      request({ port, host: "127.0.0.1", path: "/admin/ping", headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });
    expect(status).toBe(400);
  });

  test("connections are kept longer than clients and balancers keep them, on every port", async () => {
    const urls = [
      `${server.clipper?.adminUrl}/admin/ping`,
      `${server.adminUrl}/health/live`,
      `${server.queryUrl}/health/live`,
    ];
    for (const url of urls) expect((await fetch(url)).headers.get("keep-alive")).toBe("timeout=65");
  });

  test("an objective of nothing is refused, and names that our registry cannot hold", async () => {
    const application = { input_type: "ints", default_output: "", latency_slo_micros: 1 };
    expect(await addApp({ ...application, name: "x", latency_slo_micros: 0 })).toMatch(
      /^400 latency_slo_micros is 0/,
    );
    expect(await addApp({ ...application, name: "No Such Name" })).toMatch(
      /^400 application name "No Such Name" is not allowed/,
    );
  });
});

test("versions that are registered at the same moment are all taken, and one of them twice is not", async () => {
  const replies = await Promise.all(["1", "2", "3", "3"].map(addCrowd));
  const added = "200 Successfully added model with name 'crowd' and input type 'integers'";
  const exists = "400 model with name 'crowd' and version '3' already exists";
  expect(replies.toSorted()).toEqual([added, added, added, exists]);
});

function addApp(body: object): Promise<string> {
  return call("add_app", body);
}

function addCrowd(version: string): Promise<string> {
  return call("add_model", modelOf("crowd", version, "ints"));
}

async function call(name: string, body: object): Promise<string> {
  const init = { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`${server.clipper?.adminUrl}/admin/${name}`, init);
  return `${response.status} ${await response.text()}`;
}
