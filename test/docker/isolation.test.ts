// What a model in a container cannot do.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Engine } from "../../core/runtimes/engine.ts";
import { infer } from "../conformance/replica-client.ts";
import { dockerBench } from "./bench.ts";
import { hasEngine } from "./engine.ts";

/** A model that answers with what `body` returns. */
function model(body: string): string {
  return `
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
const tried = (work) => { try { return String(work() ?? "done"); } catch (error) { return error.code ?? error.message; } };
const answer = async () => { ${body} };
export const predict = async (inputs) => { const value = await answer(); return inputs.map(() => value); };`;
}

describe.skipIf(!hasEngine)("a model in a container", () => {
  it("has no rights, no network and no place to write to but /tmp", async () => {
    await using bench = await dockerBench();
    const secret = join(bench.folder, "frontend.txt");
    await writeFile(secret, "of the frontend");
    const replica = await bench.start(
      model(`
      const status = readFileSync("/proc/self/status", "utf8");
      const dial = await new Promise((resolve) => connect(80, "1.1.1.1").on("error", (error) => resolve(error.code)).on("connect", () => resolve("connected")));
      return {
        uid: process.getuid(),
        capabilities: /CapEff:\\s*(\\w+)/.exec(status)[1],
        noNewPrivileges: /NoNewPrivs:\\s*(\\d)/.exec(status)[1],
        interfaces: Object.keys(networkInterfaces()),
        dial,
        name: await lookup("example.org").then(() => "found", () => "not found"),
        root: tried(() => writeFileSync("/app/model/x", "x")),
        etc: tried(() => writeFileSync("/etc/x", "x")),
        tmp: tried(() => writeFileSync("/tmp/x", "x")),
        tooMuch: tried(() => writeFileSync("/tmp/big", Buffer.alloc(80 << 20))),
        frontend: tried(() => readFileSync(${JSON.stringify(secret)})),
        engine: existsSync("/var/run/docker.sock"),
      };`),
    );
    expect(await infer(replica, [[1]])).toEqual([
      {
        uid: 1000,
        capabilities: "0000000000000000",
        noNewPrivileges: "1",
        interfaces: ["lo"],
        dial: "ENETUNREACH",
        name: "not found",
        root: expect.stringMatching(/^(?:EROFS|EACCES)$/),
        etc: expect.stringMatching(/^(?:EROFS|EACCES)$/),
        tmp: "done",
        tooMuch: "ENOSPC",
        frontend: "ENOENT",
        engine: false,
      },
    ]);
  });

  it("is stopped by the kernel when a process of it takes too much memory, and that is what is said", async () => {
    // Memory of files in /tmp is no process's own, so that only the kernel sees it.
    await using bench = await dockerBench({ tmpMb: 400 });
    const replica = await bench.start(
      model(
        `const part = Buffer.alloc(8 << 20, 1); for (let i = 0; i < 48; i++) writeFileSync("/tmp/part" + i, part);`,
      ),
      { limits: { cpus: 1, memoryMb: 200 } },
    );
    const engine = await Engine.connect(undefined);
    const listening = new AbortController();
    const events = await engine.events(
      { type: "container", labels: { "windjammer.owner": "bench" } },
      listening.signal,
    );
    const seen = (async (): Promise<string[]> => {
      const actions: string[] = [];
      // The engine hears of both by ways of their own, in either order.
      for await (const { action, id } of events) {
        if (id === replica.handle) actions.push(action);
        if (actions.includes("oom") && actions.includes("die")) break;
      }
      return actions;
    })();
    const answer = infer(replica, [[1]]).catch((error: unknown) => error);
    expect(await replica.exited).toMatchObject({
      reason: "out-of-memory",
      message: "out of memory (limit 200 MiB)",
    });
    expect(await answer).toBeInstanceOf(Error);
    // The kernel's own doing: our server would have said so in its log.
    expect(await seen).toContain("oom");
    listening.abort();
    expect(replica.tail(20).filter(({ text }) => text.includes("out of memory"))).toEqual([]);
  });

  it("cannot start more processes than its limit, and goes on answering", async () => {
    await using bench = await dockerBench({ pids: 64 });
    const replica = await bench.start(
      model(`
      let started = 0;
      for (let i = 0; i < 200; i++) {
        const child = spawn("sleep", ["600"], { stdio: "ignore" });
        child.on("error", () => {});
        if (child.pid !== undefined) started++;
      }
      return started;`),
    );
    const [started] = await infer(replica, [[1]]);
    expect(started).toBeGreaterThan(0);
    expect(started).toBeLessThan(64);
  });

  it("gets variables, secrets as files, and mounts that it cannot write to", async () => {
    await using bench = await dockerBench({
      environment: { REGION: "north" },
      models: { bench: { secrets: { token: "hush" }, mounts: { "/data": "/usr/share" } } },
    });
    const replica = await bench.start(
      model(`
      return {
        region: process.env.REGION,
        token: readFileSync("/run/secrets/token", "utf8"),
        isInEnvironment: Object.values(process.env).includes("hush"),
        data: readdirSync("/data").length > 0,
        write: tried(() => writeFileSync("/data/x", "x")),
      };`),
    );
    expect(await infer(replica, [[1]])).toEqual([
      { region: "north", token: "hush", isInEnvironment: false, data: true, write: "EROFS" },
    ]);
  });
});
