// A frontend in a container, found by its labels as Clipper's Python library does it (connect(), then its REST calls).
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { TestContainer } from "../helpers/clipper-container.ts";
import { freePorts } from "../helpers/free-ports.ts";
import { BASE_IMAGE, hasEngine } from "./engine.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const socketPath = process.env["DOCKER_SOCK"] ?? "/var/run/docker.sock";

/** A call of the engine's own API. */
function engine(method: string, path: string, body?: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const call = request({ socketPath, method, path, headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += String(chunk)));
      response.on("end", () => {
        if ((response.statusCode ?? 500) < 400) resolve(text);
        else reject(new Error(`${response.statusCode} ${text}`));
      });
    });
    call.on("error", reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function labels(args: readonly string[]): Promise<Record<string, string>> {
  const command = [join(root, "dist/core/cli/main.js"), "clipper-labels", ...args];
  const { stdout } = await promisify(execFile)("node", command);
  const pairs = [...stdout.matchAll(/^--label ([^=]+)=(.*)$/gm)].map(([, name = "", value = ""]) => [
    name,
    value,
  ]);
  return Object.fromEntries(pairs) as Record<string, string>;
}

const COMMAND = [
  "node",
  "/app/dist/core/cli/main.js",
  "start",
  "--host=0.0.0.0",
  "--token=0123456789abcdef",
  "--clipper-compat",
  "--clipper-host=0.0.0.0",
  "--clipper-allow-unauthenticated",
];

describe.skipIf(!hasEngine)("a frontend in a container that speaks Clipper", () => {
  test("is found by its labels; applications, models and a container of the library's work as with Clipper", async () => {
    const folder = await mkdtemp(join(tmpdir(), "wj-clipper-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const [query, admin, rpc] = await freePorts(3);
    const cluster = `test-${process.pid}`;
    const config = join(folder, "prometheus.yml");
    const published = ["--port", `${query}`, "--admin-port", `${admin}`, "--rpc-port", `${rpc}`];
    const created = await engine("POST", "/containers/create", {
      Image: BASE_IMAGE,
      Cmd: COMMAND,
      Env: ["HOME=/tmp"],
      Labels: await labels(["--cluster", cluster, ...published, "--metric-config", config]),
      ExposedPorts: { "1337/tcp": {}, "1339/tcp": {}, "7000/tcp": {} },
      HostConfig: {
        Binds: [`${root}:/app:ro`],
        PortBindings: { "1337/tcp": bind(query), "1339/tcp": bind(admin), "7000/tcp": bind(rpc) },
      },
    });
    const { Id: id } = JSON.parse(created) as { Id: string };
    onTestFinished(async () => void (await engine("DELETE", `/containers/${id}?force=true`)));
    await engine("POST", `/containers/${id}/start`);

    // What DockerContainerManager.connect() does.
    const filters = encodeURIComponent(JSON.stringify({ label: [`ai.clipper.container.label=${cluster}`] }));
    const list = JSON.parse(await engine("GET", `/containers/json?filters=${filters}`)) as {
      Labels: Record<string, string>;
    }[];
    const all = Object.assign({}, ...list.map(({ Labels }) => Labels)) as Record<string, string>;
    const url = (port: string): string => `http://localhost:${all[port]}`;
    const adminUrl = url("ai.clipper.management.port");
    const queryUrl = url("ai.clipper.query_frontend.query.port");
    expect(await readFile(all["ai.clipper.metric.config"] ?? "", "utf8")).toBe("scrape_configs: []\n");
    // It stops at the first one of these that is not there.
    const ports = ["redis", "management", "query_frontend.query", "query_frontend.rpc", "metric"];
    for (const port of ports) expect(all[`ai.clipper.${port}.port`]).toMatch(/^\d+$/);
    expect(all).toHaveProperty(["ai.clipper.query_frontend.label"], "");

    const ping = async (): Promise<string> =>
      fetch(`${adminUrl}/admin/ping`).then((reply) => reply.text(), String);
    await expect.poll(ping).toBe("PONG");
    const metrics = await fetch(`${queryUrl}/metrics`);
    expect((await metrics.json()) as object).toHaveProperty("histograms");
    const reload = await fetch(`${url("ai.clipper.metric.port")}/-/reload`, { method: "POST" });
    expect(reload.status).toBe(200);

    const application = {
      name: "app",
      input_type: "doubles",
      default_output: "-1.0",
      latency_slo_micros: 5_000_000,
    };
    expect(await post(`${adminUrl}/admin/add_app`, application)).toMatch(/^200 /);
    const model = {
      model_name: "app",
      model_version: "1",
      labels: [],
      input_type: "doubles",
      batch_size: -1,
    };
    const more = { container_name: "NO_CONTAINER", model_data_path: "DEPRECATED" };
    expect(await post(`${adminUrl}/admin/add_model`, { ...model, ...more })).toMatch(/^200 /);
    const link = { app_name: "app", model_names: ["app"] };
    expect(await post(`${adminUrl}/admin/add_model_links`, link)).toMatch(/^200 /);
    const endpoint = `tcp://127.0.0.1:${all["ai.clipper.query_frontend.rpc.port"]}`;
    await using container = new TestContainer({ endpoint, model: "app", inputType: 3, pollMs: 200 });
    await expect.poll(() => container.metadataSent).toBeGreaterThan(0);
    const predict = (): Promise<string> => post(`${queryUrl}/app/predict`, { input: [1.5] });
    await expect.poll(predict).toMatch(/"output":1,"default":false/);
  });
});

function bind(port: number | undefined): object {
  return [{ HostIp: "127.0.0.1", HostPort: String(port) }];
}

async function post(address: string, body: object): Promise<string> {
  const headers = { "Content-type": "application/json" };
  const reply = await fetch(address, { method: "POST", headers, body: JSON.stringify(body) });
  return `${reply.status} ${await reply.text()}`;
}
