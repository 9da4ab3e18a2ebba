// `windjammer start` as a process of its own: what it prints, how it ends, what it says when it cannot start.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, deployFunction } from "windjammer";
import { freePort } from "../../helpers/free-ports.ts";

const MAIN = join(import.meta.dirname, "../../../core/cli/main.ts");

interface Run {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly exited: Promise<number | string>;
}

let folder: string;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-cli-"));
});
afterAll(async () => {
  for (const child of running) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Run {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: {
      ...process.env,
      XDG_STATE_HOME: join(folder, "state"),
      XDG_CACHE_HOME: join(folder, "cache"),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = once(child, "close").then(([code, signal]: unknown[]) => {
    running.delete(child);
    return (code ?? signal) as number | string;
  });
  return { child, stdout: () => stdout, stderr: () => stderr, exited };
}

async function started(process: Run): Promise<{ readonly query: string; readonly admin: string }> {
  await expect.poll(() => process.stdout() + process.stderr()).toContain("/health/ready");
  const [query = "", admin = ""] = process.stdout().match(/http:\/\/[\d.]+:\d+/g) ?? [];
  return { query, admin };
}

const FREE = ["--port", "0", "--admin-port", "0", "--log-level", "silent"];

describe("windjammer start", () => {
  test("serves both APIs, says where, and closes on SIGINT", async () => {
    const limits = ["--max-inputs", "7", "--max-body-bytes", "4096"];
    const server = run(["start", ...FREE, ...limits, "--state-dir", join(folder, "one")]);
    const { query, admin } = await started(server);
    expect((await fetch(`${admin}/health/ready`)).status).toBe(200);
    expect((await fetch(`${query}/health/live`)).status).toBe(200);
    expect(await (await fetch(`${admin}/api/v1/server`)).json()).toMatchObject({
      queryUrl: query,
      runtime: "process",
      limits: { maxInputs: 7, maxBodyBytes: 4096 },
    });
    expect(server.stdout()).toContain(join(folder, "one"));
    expect(server.stdout()).toContain("Ctrl-C");
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(0);
    expect(server.stdout()).toMatch(/closing: .*\nclosed\n$/);
    expect(server.stderr()).toBe("");
  });

  test("closes on SIGTERM, too", async () => {
    const server = run(["start", ...FREE, "--state-dir", join(folder, "two")]);
    await started(server);
    server.child.kill("SIGTERM");
    expect(await server.exited).toBe(0);
  });

  test("loads what a server with models in processes has no use for only when it is asked for", async () => {
    const list = join(folder, "loaded");
    const hook = join(import.meta.dirname, "loaded-packages-program.ts");
    const server = run(["start", ...FREE, "--state-dir", join(folder, "lean")], {
      NODE_OPTIONS: `--import=${hook}`,
      LOADED_PACKAGES: list,
    });
    const { admin } = await started(server);
    const loaded = async (): Promise<readonly string[]> => (await readFile(list, "utf8")).split("\n");
    await using wj = await connect(admin);
    const module = join(folder, "lean.mjs");
    await writeFile(module, "export const predict = (inputs) => inputs.map(([first]) => first);\n");
    const app = await deployFunction(wj, { name: "lean", version: "1", inputType: "doubles", module });
    expect(await app.predict([3])).toBe(3);
    const heavy = /^(undici|prom-client|dockerode|esbuild|@grpc\/.*|onnxruntime-node)$/;
    expect((await loaded()).filter((name) => heavy.test(name))).toEqual([]);
    expect(await wj.metrics()).toContain("nodejs_eventloop_lag_seconds");
    expect(await loaded()).toContain("prom-client");
  });

  test("a second signal ends it at once", async () => {
    const server = run(["start", ...FREE, "--state-dir", join(folder, "twice")]);
    const { admin } = await started(server);
    // An upload that does not come on is waited for, for a while.
    const upload = dial(Number(new URL(admin).port), "127.0.0.1");
    upload.on("error", () => {});
    upload.write(
      "POST /api/v1/bundles HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n",
    );
    await once(upload, "data");
    server.child.kill("SIGINT");
    await expect.poll(server.stdout).toContain("press Ctrl-C again");
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(130);
    expect(server.stdout()).not.toContain("closed");
    upload.destroy();
  });

  test("takes the token from the environment", async () => {
    const token = "a-token-of-the-environment";
    const server = run(["start", ...FREE, "--state-dir", join(folder, "three")], { WINDJAMMER_TOKEN: token });
    const { admin } = await started(server);
    expect(server.stdout()).not.toContain(token);
    expect((await fetch(`${admin}/api/v1/server`)).status).toBe(401);
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${admin}/api/v1/server`, { headers })).status).toBe(200);
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(0);
  });

  test.each(["--port", "--admin-port"])("a %s in use is one line", async (option) => {
    const taken = createServer();
    await new Promise<void>((resolve) => {
      taken.listen(0, "127.0.0.1", resolve);
    });
    const { port } = taken.address() as AddressInfo;
    const server = run([
      "start",
      ...FREE,
      option,
      String(port),
      "--state-dir",
      join(folder, `used${option}`),
    ]);
    expect(await server.exited).toBe(1);
    expect(server.stderr()).toMatch(new RegExp(`^windjammer: PORT_IN_USE: .*${port}.*\\n$`));
    expect(server.stdout()).toBe("");
    taken.close();
  });

  test("a second server on one state folder is one line", async () => {
    const state = ["--state-dir", join(folder, "shared")];
    const first = run(["start", ...FREE, ...state]);
    await started(first);
    const second = run(["start", ...FREE, ...state]);
    expect(await second.exited).toBe(1);
    expect(second.stderr()).toMatch(/^windjammer: STATE_DIR_IN_USE: .*\n$/);
    first.child.kill("SIGINT");
    expect(await first.exited).toBe(0);
  });
});

describe("the log of windjammer start", () => {
  const free = ["--port", "0", "--admin-port", "0"];

  test("is JSON where no terminal is watched", async () => {
    const server = run(["start", ...free, "--state-dir", join(folder, "log-json")]);
    await started(server);
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(0);
    const [first = ""] = server.stderr().split("\n");
    expect(JSON.parse(first)).toMatchObject({ level: 30, msg: "server started" });
  });

  test("is lines for people when it is asked to be", async () => {
    const text = ["--log-format", "text", "--state-dir", join(folder, "log-text")];
    const server = run(["start", ...free, ...text]);
    const { query } = await started(server);
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(0);
    expect(server.stderr()).toMatch(
      new RegExp(`^[\\d:.]{12} info  server started queryUrl=${query} adminUrl=\\S+ stateDir=\\S+\n`),
    );
  });
});

describe("what Vertex AI tells windjammer start", () => {
  const rest = ["--admin-port", "0", "--log-level", "silent"];

  test("is where it predicts and says how it is", async () => {
    const port = await freePort();
    const env = {
      AIP_HTTP_PORT: String(port),
      AIP_PREDICT_ROUTE: "/v1/models/first/versions/1/answer",
      AIP_HEALTH_ROUTE: "/is/well",
    };
    const server = run(["start", ...rest, "--state-dir", join(folder, "vertex")], env);
    const { query, admin } = await started(server);
    expect(query).toBe(`http://127.0.0.1:${port}`);
    const health = await fetch(query + env.AIP_HEALTH_ROUTE);
    expect([health.status, await health.json()]).toEqual([200, { ready: true }]);
    await using client = await connect(admin);
    const module = join(folder, "first.mjs");
    await writeFile(module, "export const predict = (inputs) => inputs.map(([first]) => first);\n");
    await deployFunction(client, { name: "first", version: "1", inputType: "doubles", module });
    const predict = (path: string): Promise<Response> =>
      fetch(query + path, { method: "POST", body: '{"instances":[[7,1],[9,2]]}' });
    expect(await (await predict(env.AIP_PREDICT_ROUTE)).json()).toEqual({ predictions: [7, 9] });
    expect((await predict("/v1/models/first/versions/2/answer")).status).toBe(404);
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(0);
  });

  test("gives way to --port; what is empty is unset", async () => {
    const env = { AIP_HTTP_PORT: "1", AIP_PREDICT_ROUTE: "", AIP_HEALTH_ROUTE: "" };
    const server = run(["start", "--port", "0", ...rest, "--state-dir", join(folder, "unset")], env);
    const { query } = await started(server);
    expect(new URL(query).port).not.toBe("1");
    server.child.kill("SIGINT");
    expect(await server.exited).toBe(0);
  });

  test.each([
    [{ AIP_HTTP_PORT: "http" }, 'the variable AIP_HTTP_PORT is "http": expected a port, 0 to 65535'],
    [{ AIP_HTTP_PORT: "65536" }, 'AIP_HTTP_PORT is "65536": expected a port'],
    [{ AIP_PREDICT_ROUTE: "predict" }, 'AIP_PREDICT_ROUTE is "predict": expected a path that begins with /'],
    [{ AIP_PREDICT_ROUTE: "/a?b=c" }, 'AIP_PREDICT_ROUTE is "/a?b=c": expected a path'],
    [
      { AIP_PREDICT_ROUTE: "/a", AIP_HEALTH_ROUTE: "/two words" },
      'AIP_HEALTH_ROUTE is "/two words": expected a path',
    ],
    [{ AIP_HEALTH_ROUTE: "/health" }, "AIP_PREDICT_ROUTE is not set; set both, or neither"],
  ])("is refused in one line when it is wrong: %j", async (env, message) => {
    const server = run(["start", ...rest, "--state-dir", join(folder, "refused")], env);
    expect(await server.exited).toBe(2);
    expect(server.stderr()).toMatch(/^windjammer: INVALID_OPTIONS: .*\n$/);
    expect(server.stderr()).toContain(message);
    expect(server.stdout()).toBe("");
  });

  test("does not keep other commands from running when it is wrong", async () => {
    const help = run(["--help"], { AIP_HTTP_PORT: "http" });
    expect(await help.exited).toBe(0);
  });
});

describe("the command line", () => {
  test("an old Node gets one line that says what is needed", async () => {
    const older = "Object.defineProperty(process.versions, 'node', { value: '20.20.2' })";
    const old = run(["start"], {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(older)}`,
    });
    expect(await old.exited).toBe(1);
    expect(old.stderr()).toMatch(/^windjammer: Node 20\.20\.2 is too old; it needs Node 24 .*\n$/);
  });

  test("prints its version and its help", async () => {
    const version = run(["--version"]);
    expect(await version.exited).toBe(0);
    expect(version.stdout()).toMatch(/^\d+\.\d+\.\d+\n$/);
    const help = run(["start", "--help"]);
    expect(await help.exited).toBe(0);
    for (const option of [
      "--port",
      "--admin-port",
      "--host",
      "--state-dir",
      "--cache-dir",
      "--token",
      "--log-level",
      "--runtime",
      "--max-body-bytes",
      "--max-inputs",
      "--max-queue-length",
      "--max-bundle-bytes",
      "--request-timeout-ms",
      "--drain-timeout-ms",
    ])
      expect(help.stdout()).toContain(option);
    expect(help.stdout()).toContain("1337");
    const top = run(["--help"]);
    expect(await top.exited).toBe(0);
    expect(top.stdout()).toContain("start");
  });

  test.each([
    [["strat"], "Did you mean start?"],
    [["start", "--prot", "1"], "--port"],
    [["start", "--port", "abc"], "expected a port"],
    [["start", "--port", "70000"], "expected a port"],
    [["start", "--runtime", "carrier-pigeon"], "Allowed choices are process"],
    [["start", "extra"], "too many arguments"],
    [["start", ...FREE, "--base-image", "node:24"], "the process runtime makes none; add --runtime docker"],
    [["start", ...FREE, "--token", "short"], "INVALID_OPTIONS"],
    [["start", ...FREE, "--token", "correct horse battery staple"], "without spaces"],
    [["start", "--max-inputs", "1e3"], "expected a whole number"],
    [["start", ...FREE, "--max-inputs", "0"], "maxInputs: expected"],
    [["start", ...FREE, "--host", "0.0.0.0"], "needs a token"],
    [[], "Usage: windjammer"],
  ])("refuses %j as wrong usage", async (args, message) => {
    const process = run(args);
    expect(await process.exited).toBe(2);
    expect(process.stderr()).toContain(message);
  });
});
