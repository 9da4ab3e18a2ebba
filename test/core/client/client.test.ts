// The client against a real server with scripted replicas: deploys, predictions, management, and all that can go wrong.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Client } from "../../../core/client/client.ts";
import type { DeployOptions } from "../../../core/client/interface.ts";
import type { Deployer } from "../../../core/deploy/deployer.ts";
import {
  ApplicationNotFoundError,
  GateFailedError,
  InvalidInputError,
  InvalidOptionsError,
  ModelError,
  ReplicaStartError,
  ServerUnreachableError,
  ShuttingDownError,
  UnauthorizedError,
  VersionExistsError,
  WindjammerError,
} from "../../../core/errors.ts";
import type { DeploymentEvent } from "../../../core/types.ts";
import { type RunningServer, startServer } from "../../../core/windjammer.ts";
import { answering, sourceDeployer } from "../../helpers/bundles.ts";
import { type ScriptedAnswer, ScriptedRuntime } from "../../helpers/scripted-runtime.ts";

/** Answers each input with itself; the input "throw" fails alone. */
function echo(inputs: readonly unknown[]): ScriptedAnswer {
  const errors = inputs.map((input) =>
    input === "throw" ? { code: "MODEL_ERROR", message: "threw as told" } : undefined,
  );
  return errors.some((error) => error !== undefined) ? { outputs: inputs, errors } : { outputs: inputs };
}

async function thrown(promise: Promise<unknown>): Promise<WindjammerError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof WindjammerError) return error;
    throw error;
  }
  throw new Error("did not throw");
}

let sources = 0;
/** Options of a deployment whose bundle is like no other. */
function fresh(name: string, version: string): DeployOptions & { source: string } {
  return { name, version, source: answering(`input /* ${++sources} */`) };
}

describe("client", () => {
  let runtime: ScriptedRuntime;
  let server: RunningServer;
  let wj: Client;
  let temporary: string;
  const realTmp = process.env["TMPDIR"];

  beforeAll(async () => {
    temporary = await mkdtemp(join(tmpdir(), "wj-client-"));
    process.env["TMPDIR"] = temporary;
    runtime = new ScriptedRuntime(({ inputs }) => echo(inputs));
    server = await startServer({
      port: 0,
      adminPort: 0,
      runtime,
      maxInputs: 4,
      maxBodyBytes: 4096,
      drainTimeoutMs: 100,
    });
    wj = await Client.connect(server.adminUrl, { onClose: () => server.close() });
  });
  afterAll(async () => {
    await wj.close();
    if (realTmp === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = realTmp;
    await rm(temporary, { recursive: true, force: true });
  });

  test("deploys, tells each step, and predicts", async () => {
    const events: DeploymentEvent[] = [];
    const app = await wj.deploy(sourceDeployer, {
      ...fresh("steps", "1"),
      onEvent: (event) => events.push(event),
    });
    expect(app.deployment).toMatchObject({ state: "succeeded", result: "deployed", model: "steps" });
    const steps = events.map(({ step }) => step);
    expect(steps.slice(0, 1)).toEqual(["receive"]);
    expect(steps).toContain("ready");
    expect(steps).toContain("switch");
    expect(steps.at(-1)).toBe("done");
    const sequences = events.filter(({ sequence }) => sequence > 0).map(({ sequence }) => sequence);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    expect(await app.predict({ pixel: [1, 2] })).toEqual({ pixel: [1, 2] });
    expect(app.url).toBe(`${server.queryUrl}/steps/predict`);
    const curl = await fetch(app.url, { method: "POST", body: '{"input": "x"}' });
    expect(await curl.json()).toMatchObject({ output: "x", default: false });
  });

  test("uploads a bundle once, and says that the same content again changes nothing", async () => {
    const options = fresh("twice", "1");
    await wj.deploy(sourceDeployer, options);
    const messages: string[] = [];
    const again = await wj.deploy(sourceDeployer, {
      ...options,
      onEvent: ({ message }) => messages.push(message),
    });
    expect(messages).toContain("the server has this bundle already");
    expect(messages).not.toContain("uploading the bundle");
    expect(again.deployment.result).toBe("unchanged");
    const other = await thrown(wj.deploy(sourceDeployer, fresh("twice", "1")));
    expect(other).toBeInstanceOf(VersionExistsError);
  });

  test("leaves no temporary folder, whether it works or not", async () => {
    await wj.deploy(sourceDeployer, fresh("tidy", "1"));
    const failing: Deployer<object> = {
      name: "failing",
      options: z.object({}),
      bundle: () => Promise.reject(new InvalidOptionsError("as told")),
    };
    await expect(wj.deploy(failing, { name: "tidy", version: "2" })).rejects.toThrow("as told");
    expect((await readdir(temporary)).filter((name) => name.startsWith("windjammer-bundle"))).toEqual([]);
  });

  test.each([
    [{ latencyObjektiveMs: 5 }, "unknown option 'latencyObjektiveMs'; did you mean 'latencyObjectiveMs'?"],
    [{ sorce: "x" }, "unknown option 'sorce'; did you mean 'source'?"],
    [{ latencyObjectiveMs: "50" }, 'latencyObjectiveMs: expected number, got "50"'],
    [{ name: "No Name" }, "name: expected a name"],
    [{ version: "" }, "version: expected a version"],
    [{ source: 5 }, "source: expected string, got 5"],
    [{ defaultOutput: Number.NaN }, "defaultOutput: NaN is not a JSON number"],
    [{ examples: [{ input: [undefined] }] }, "examples[0].input[0]: undefined is not JSON"],
    [{ signal: "stop" }, 'signal: expected an AbortSignal, got "stop"'],
    [{ onEvent: "log" }, 'onEvent: expected a function, got "log"'],
    [{ batching: { policy: "eager" } }, "batching.policy: expected"],
  ])("refuses %j before anything is sent", async (wrong, message) => {
    const before = await wj.deployments();
    const error = await thrown(wj.deploy(sourceDeployer, { ...fresh("wrong", "1"), ...(wrong as object) }));
    expect(error).toBeInstanceOf(InvalidOptionsError);
    expect(error.message).toContain(message);
    expect(await wj.deployments()).toEqual(before);
  });

  test("takes undefined for every option that may be left out", async () => {
    const app = await wj.deploy(sourceDeployer, {
      ...fresh("left-out", "1"),
      latencyObjectiveMs: undefined,
      defaultOutput: undefined,
      inputType: undefined,
      examples: [{ input: 1, output: undefined }] as never,
      onEvent: undefined,
    });
    expect(app.deployment.state).toBe("succeeded");
  });

  test("a deployment that fails throws its own class, with step and log", async () => {
    const gate = await thrown(
      wj.deploy(sourceDeployer, { ...fresh("fails", "1"), examples: [{ input: 1, output: 2 }] }),
    );
    expect(gate).toBeInstanceOf(GateFailedError);
    expect(gate.message).toContain('failed at step "gate"');
    expect(gate.details).toMatchObject({ step: "gate", model: "fails", version: "1" });

    runtime.script = () => "die";
    const died = await thrown(
      wj.deploy(sourceDeployer, { ...fresh("fails", "1"), examples: [{ input: 1 }] }),
    );
    runtime.script = ({ inputs }) => echo(inputs);
    expect(died).toBeInstanceOf(WindjammerError);
    expect(died.details["step"]).toBe("gate");

    runtime.startError = new ReplicaStartError("cannot start as told", {
      details: { logTail: ["first line", "Segmentation fault"] },
    });
    const start = await thrown(wj.deploy(sourceDeployer, fresh("fails", "1")));
    runtime.startError = undefined;
    expect(start).toBeInstanceOf(ReplicaStartError);
    expect(start.message).toContain("cannot start as told");
    expect(start.message).toContain("Segmentation fault");
    expect(start.details["logTail"]).toContain("Segmentation fault");
    expect(await wj.models()).not.toContainEqual(expect.objectContaining({ name: "fails" }));
  });

  test("a model without an application gives a handle that says so", async () => {
    const app = await wj.deploy(sourceDeployer, { ...fresh("bare", "1"), application: null });
    expect([app.name, app.url, app.deployment.state]).toEqual(["", "", "succeeded"]);
    for (const call of [app.predict(1), app.predictBatch([1]), app.predictDetailed([1])]) {
      const error = await thrown(call);
      expect(error).toBeInstanceOf(ApplicationNotFoundError);
      expect(error.message).toContain("application: null");
      expect(error.message).toContain('"bare"');
    }
  });

  test("splits long lists to the server's limits and joins the answers in order", async () => {
    const app = await wj.deploy(sourceDeployer, fresh("lists", "1"));
    const inputs = Array.from({ length: 11 }, (_, index) => ({ index }));
    expect(await app.predictBatch(inputs)).toEqual(inputs);
    // Six of these are over the limit of a body, two are not.
    const large = Array.from({ length: 6 }, (_, index) => String(index).repeat(1300));
    expect(await app.predictBatch(large)).toEqual(large);
    expect(await app.predictBatch([])).toEqual([]);
    expect(await app.predictBatch(["one"])).toEqual(["one"]);
    await expect(app.predict("x".repeat(5000))).rejects.toMatchObject({ code: "BODY_TOO_LARGE" });
  });

  test("one failed input costs the others nothing", async () => {
    const app = await wj.deploy(sourceDeployer, fresh("alone", "1"));
    const answers = await app.predictDetailed([1, "throw", undefined as never, 4, 5, 6, "throw"]);
    expect(
      answers.map((answer) => ("error" in answer ? answer.error.constructor.name : answer.output)),
    ).toEqual([1, "ModelError", "InvalidInputError", 4, 5, 6, "ModelError"]);
    expect(await app.predictDetailed(["throw"])).toMatchObject([{ error: { code: "MODEL_ERROR" } }]);
    expect(await app.predictDetailed(["throw", "throw"])).toMatchObject([
      { error: { code: "MODEL_ERROR" } },
      { error: { code: "MODEL_ERROR" } },
    ]);
    await expect(app.predictBatch([1, "throw", 3])).rejects.toBeInstanceOf(ModelError);
    await expect(app.predict("throw")).rejects.toThrow("threw as told");
    await expect(app.predictBatch([1, Number.NaN])).rejects.toThrow(InvalidInputError);
  });

  test("a default output is an answer, marked and explained in detail", async () => {
    const app = await wj.deploy(sourceDeployer, {
      ...fresh("defaults", "1"),
      defaultOutput: { sorry: true },
    });
    await wj.scale("defaults", 0);
    expect(await app.predict(1)).toEqual({ sorry: true });
    expect(await app.predictDetailed([1])).toMatchObject([
      { output: { sorry: true }, isDefault: true, explanation: expect.any(String) },
    ]);
    await wj.scale("defaults", 1);
    expect(await app.predictDetailed([1])).toEqual([{ output: 1, isDefault: false }]);
  });

  test("a version and a deadline can be asked for", async () => {
    const app = await wj.deploy(sourceDeployer, fresh("asked", "1"));
    expect(await app.predict(1, { version: "1" })).toBe(1);
    await expect(app.predict(1, { version: "9" })).rejects.toMatchObject({ code: "VERSION_NOT_FOUND" });
    await expect(app.predict(1, { timeoutMs: -1 })).rejects.toThrow("timeoutMs");
    runtime.script = () => "hang";
    await expect(app.predict(1, { timeoutMs: 20 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const reason = new Error("enough");
    const controller = new AbortController();
    const aborted = app.predict(1, { signal: controller.signal });
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    runtime.script = ({ inputs }) => echo(inputs);
  });

  test("manages what it deployed", async () => {
    await wj.deploy(sourceDeployer, fresh("managed", "1"));
    await wj.deploy(sourceDeployer, { ...fresh("managed", "2"), replicas: 2 });
    expect((await wj.versions("managed")).map(({ version }) => version)).toEqual(["2", "1"]);
    const events: DeploymentEvent[] = [];
    const back = await wj.setVersion("managed", "1", { onEvent: (event) => events.push(event) });
    expect(back.state).toBe("succeeded");
    expect(events.at(-1)?.step).toBe("done");
    expect(await Array.fromAsync(wj.events(back.id))).toEqual(events);
    expect(await wj.deployment(back.id)).toEqual(back);
    const running = (await wj.replicas()).filter(({ model }) => model === "managed");
    expect(running.map(({ version, state }) => [version, state])).toContainEqual(["1", "ready"]);
    const [replica] = running;
    expect(await Array.fromAsync(wj.logs(replica?.id ?? ""))).toEqual([]);
    expect(await Array.fromAsync(wj.logs(replica?.id ?? "", { follow: true }))).toEqual([]);
    const sinceNow = { since: new Date(), tail: 5 };
    expect(await Array.fromAsync(wj.logs(replica?.id ?? "", sinceNow))).toEqual([]);
    await expect(Array.fromAsync(wj.logs(replica?.id ?? "", { since: "yesterday" }))).rejects.toMatchObject({
      code: "INVALID_REQUEST",
    });
    const stats = { memoryBytes: expect.any(Number) as number, cpuMs: expect.any(Number) as number };
    expect(await wj.stats(replica?.id ?? "")).toEqual(stats);
    await expect(wj.stats("none")).rejects.toMatchObject({ code: "REPLICA_NOT_FOUND" });
    await expect(Array.fromAsync(wj.logs("none", { follow: true }))).rejects.toMatchObject({
      code: "REPLICA_NOT_FOUND",
    });
    await wj.unlink("managed", "managed");
    await wj.link("managed", "managed");
    await expect(wj.deleteModel("managed")).rejects.toMatchObject({ code: "IN_USE" });
    await wj.deleteVersion("managed", "2");
    await wj.deleteApplication("managed");
    await wj.deleteModel("managed");
    await expect(wj.application("managed")).rejects.toMatchObject({ code: "APPLICATION_NOT_FOUND" });
    expect((await wj.applications()).map(({ name }) => name)).not.toContain("managed");
    expect(await wj.metrics()).toContain("windjammer_");
    expect(await wj.info()).toMatchObject({ queryUrl: server.queryUrl, runtime: "scripted" });
  });

  /** Deploys a second version, whose gate waits; gives what came of it when `stop` was called at the gate. */
  async function stopped(
    name: string,
    stop: (id: string) => unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const app = await wj.deploy(sourceDeployer, fresh(name, "1"));
    const released = Promise.withResolvers<void>();
    runtime.script = async ({ inputs }) => {
      await released.promise;
      return echo(inputs);
    };
    try {
      const options = { ...fresh(name, "2"), examples: [{ input: 1 }], signal };
      const onEvent = async ({ step }: DeploymentEvent): Promise<void> => {
        if (step === "gate") await stop((await wj.deployments())[0]?.id ?? "");
      };
      return await wj.deploy(sourceDeployer, { ...options, onEvent: (event) => void onEvent(event) });
    } catch (error) {
      return error;
    } finally {
      runtime.script = ({ inputs }) => echo(inputs);
      released.resolve();
      expect(await app.predict("former")).toBe("former");
      expect(await wj.models()).toContainEqual({ name, currentVersion: "1" });
    }
  }

  describe("a deployment that is cancelled", () => {
    test("by its signal rejects with the signal's reason, and the former version serves", async () => {
      const controller = new AbortController();
      const reason = new Error("enough");
      expect(await stopped("signalled", () => controller.abort(reason), controller.signal)).toBe(reason);
      const [latest] = await wj.deployments();
      expect(latest).toMatchObject({ model: "signalled", version: "2", state: "failed" });
    });

    test("by its id fails with the server's words", async () => {
      const ended: Promise<unknown>[] = [];
      const error = await stopped("named", (id) => ended.push(wj.cancelDeployment(id)));
      expect(error).toBeInstanceOf(WindjammerError);
      expect(String(error)).toContain("cancel");
      expect(await ended[0]).toMatchObject({ model: "named", version: "2", state: "failed" });
      await expect(wj.cancelDeployment("none")).rejects.toMatchObject({ code: "DEPLOYMENT_NOT_FOUND" });
    });

    test("before it began sends nothing", async () => {
      const before = await wj.deployments();
      const signal = AbortSignal.abort(new Error("never"));
      await expect(wj.deploy(sourceDeployer, { ...fresh("never", "1"), signal })).rejects.toThrow("never");
      expect(await wj.deployments()).toEqual(before);
    });
  });

  test("takes up the events again where a broken connection left off", async () => {
    await using proxy = await startProxy(Number(new URL(server.adminUrl).port));
    await using client = await Client.connect(`http://127.0.0.1:${proxy.port}`);
    const cut = Promise.withResolvers<number>();
    // The gate waits until the client has come back.
    runtime.script = async ({ inputs }) => {
      const before = await cut.promise;
      await expect.poll(() => proxy.connections).toBeGreaterThan(before);
      return echo(inputs);
    };
    const events: DeploymentEvent[] = [];
    const app = await client.deploy(sourceDeployer, {
      ...fresh("broken", "1"),
      examples: [{ input: 1, output: 1 }],
      onEvent: (event) => {
        events.push(event);
        if (event.step !== "start") return;
        cut.resolve(proxy.connections);
        proxy.cut();
      },
    });
    runtime.script = ({ inputs }) => echo(inputs);
    expect(app.deployment.state).toBe("succeeded");
    const sequences = events.filter(({ sequence }) => sequence > 0).map(({ sequence }) => sequence);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    expect(events.at(-1)?.step).toBe("done");
  });

  test("a server that goes away during a deployment is named, with the deployment", async () => {
    const proxy = await startProxy(Number(new URL(server.adminUrl).port));
    await using client = await Client.connect(`http://127.0.0.1:${proxy.port}`);
    const noticed = Promise.withResolvers<void>();
    runtime.script = async ({ inputs }) => {
      await noticed.promise;
      return echo(inputs);
    };
    const error = await thrown(
      client.deploy(sourceDeployer, {
        ...fresh("gone", "1"),
        examples: [{ input: 1 }],
        onEvent: ({ step }) => {
          if (step === "start") void proxy[Symbol.asyncDispose]();
        },
      }),
    );
    noticed.resolve();
    expect(error).toBeInstanceOf(ServerUnreachableError);
    const id = String(error.details["deployment"]);
    expect(error.message).toContain(id);
    await expect.poll(async () => (await wj.deployment(id)).state).toBe("succeeded");
    runtime.script = ({ inputs }) => echo(inputs);
  });

  test("a server that goes away is named", async () => {
    const proxy = await startProxy(Number(new URL(server.adminUrl).port));
    const url = `http://127.0.0.1:${proxy.port}`;
    await using client = await Client.connect(url);
    await proxy[Symbol.asyncDispose]();
    const error = await thrown(client.models());
    expect(error).toBeInstanceOf(ServerUnreachableError);
    expect(error.message).toContain(url);
  });
});

describe("connect", () => {
  test("says that nothing listens", async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => {
      server.close(resolve);
    });
    const error = await thrown(Client.connect(`http://127.0.0.1:${port}`));
    expect(error).toBeInstanceOf(ServerUnreachableError);
    expect(error.message).toContain("nothing listens there; start a server with `windjammer start`");
    expect(error.message).toContain(String(port));
  });

  test("says that it is something else", async () => {
    const other = createHttpServer((_, response) => void response.end("<h1>hello</h1>"));
    const port = await listen(other);
    const error = await thrown(Client.connect(`http://127.0.0.1:${port}`));
    expect(error).toBeInstanceOf(ServerUnreachableError);
    expect(error.message).toContain("is not a Windjammer management API");
    other.close();
  });

  test("says which port is right when it is the query port", async () => {
    await using server = await startServer({ port: 0, adminPort: 0, runtime: idleRuntime() });
    const error = await thrown(Client.connect(server.queryUrl));
    expect(error).toBeInstanceOf(ServerUnreachableError);
    expect(error.message).toContain(server.adminUrl);
  });

  test("wants the token, sends it to the management API only, and works with it", async () => {
    const token = "0123456789abcdef0123";
    await using server = await startServer({ port: 0, adminPort: 0, token, runtime: idleRuntime() });
    const missing = await thrown(Client.connect(server.adminUrl));
    expect(missing).toBeInstanceOf(UnauthorizedError);
    expect(missing.message).toContain("`token`");
    const wrong = await thrown(Client.connect(server.adminUrl, { token: "wrong" }));
    expect(wrong).toBeInstanceOf(UnauthorizedError);
    await using client = await Client.connect(server.adminUrl, { token });
    const app = await client.deploy(sourceDeployer, fresh("secret", "1"));
    expect(await app.predict(1)).toBe(1);
  });

  test("takes the query API's URL from the caller, where the server's own does not lead to it", async () => {
    await using server = await startServer({ port: 0, adminPort: 0, runtime: idleRuntime() });
    await using tunnel = await startProxy(Number(new URL(server.queryUrl).port));
    const queryUrl = `http://localhost:${tunnel.port}/`;
    await using client = await Client.connect(server.adminUrl, { queryUrl });
    const app = await client.deploy(sourceDeployer, fresh("tunnelled", "1"));
    expect(app.url).toBe(`${queryUrl}tunnelled/predict`);
    expect(await app.predict(1)).toBe(1);
    expect(tunnel.connections).toBeGreaterThan(0);
    const error = await thrown(Client.connect(server.adminUrl, { queryUrl: "localhost:1" }));
    expect(error).toBeInstanceOf(InvalidOptionsError);
    expect(error.message).toContain("queryUrl");
  });

  test.each(["with space and length", "with-a-line-break\n", "\u00fcber-sixteen-long", "too-short"])(
    "a server does not start with the token %j, which nobody could send",
    async (token) => {
      const error = await thrown(startServer({ port: 0, adminPort: 0, token, runtime: idleRuntime() }));
      expect(error).toBeInstanceOf(InvalidOptionsError);
      expect(error.message).toContain("at least 16 printable ASCII characters without spaces");
      expect(JSON.stringify([error.message, error.details])).not.toContain(token);
      if (token === "too-short") return;
      const refused = await thrown(Client.connect("http://127.0.0.1:9", { token }));
      expect(refused).toBeInstanceOf(InvalidOptionsError);
      expect(refused.message).not.toContain(token);
    },
  );

  test.each(["", "localhost:1338", "ftp://localhost", "nonsense"])("refuses the URL %j", async (url) => {
    const error = await thrown(Client.connect(url));
    expect(error).toBeInstanceOf(InvalidOptionsError);
    expect(error.message).toContain("http://127.0.0.1:1338");
  });
});

test("a bundle over the server's limit is refused with the server's words, not with a broken connection", async () => {
  await using server = await startServer({
    port: 0,
    adminPort: 0,
    maxBundleBytes: 100_000,
    runtime: idleRuntime(),
  });
  await using client = await Client.connect(server.adminUrl);
  const source = `${answering("input")}// ${"x".repeat(30 * 2 ** 20)}`;
  const error = await thrown(client.deploy(sourceDeployer, { name: "huge", version: "1", source }));
  expect(["INVALID_BUNDLE", "BODY_TOO_LARGE"]).toContain(error.code);
  expect(error.message).toMatch(/100[,_]?000/);
  expect(await client.deployments()).toEqual([]);
  // And the server goes on.
  const app = await client.deploy(sourceDeployer, fresh("small", "1"));
  expect(await app.predict(1)).toBe(1);
});

test("after close every call says that it was closed, and close can be called again", async () => {
  let closes = 0;
  const server = await startServer({ port: 0, adminPort: 0, runtime: idleRuntime() });
  const client = await Client.connect(`${server.adminUrl}/`, {
    onClose: async () => {
      closes++;
      await server.close();
    },
  });
  await Promise.all([client.close(), client.close()]);
  expect(closes).toBe(1);
  await expect(client.models()).rejects.toBeInstanceOf(ShuttingDownError);
});

function idleRuntime(): ScriptedRuntime {
  return new ScriptedRuntime(({ inputs }) => echo(inputs));
}

async function listen(server: Pick<Server, "listen" | "address">): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return (server.address() as AddressInfo).port;
}

interface Proxy extends AsyncDisposable {
  readonly port: number;
  /** Taken so far. */
  readonly connections: number;
  /** Breaks every connection that runs through it. */
  cut(): void;
}

async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((inner) => {
    connections++;
    const outer = connectTcp(target, "127.0.0.1");
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        inner.destroy();
        outer.destroy();
      });
    }
    inner.pipe(outer).pipe(inner);
  });
  const port = await listen(server);
  return {
    port,
    get connections() {
      return connections;
    },
    cut,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => {
        server.close(resolve);
      });
      cut();
      await closed;
    },
  };
}
