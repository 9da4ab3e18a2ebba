// An engine of the test's own, that can be stopped and started again without disturbing the shared one.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EngineAddress } from "../../core/runtimes/engine-address.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { removeMounts } from "./mounts.ts";

const SHARED = "/var/run/docker.sock";
const START_MS = 120_000;

export interface OwnEngineOptions {
  /** Containers outlive the engine. */
  readonly isLiveRestoring: boolean;
}

export class OwnEngine implements AsyncDisposable {
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Has the given images of the shared engine. Needs root, as that one does. */
  static async start(options: OwnEngineOptions, images: readonly string[]): Promise<OwnEngine> {
    const engine = new OwnEngine(await mkdtemp(join(tmpdir(), "wj-engine-")));
    try {
      await engine.begin(options);
      for (const image of images) await engine.#load(image);
      return engine;
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
  }

  get socket(): string {
    return join(this.#folder, "engine.sock");
  }

  get #address(): EngineAddress {
    return { kind: "socket", path: this.socket, shown: this.host };
  }

  get host(): string {
    return `unix://${this.socket}`;
  }

  async begin({ isLiveRestoring }: OwnEngineOptions): Promise<void> {
    const path = (name: string): string => join(this.#folder, name);
    const folders = ["--data-root", path("data"), "--exec-root", path("exec"), "--pidfile", path("pid")];
    // In a network of its own: one without a bridge takes docker0 away, which is the shared engine's.
    const alone = ["--bridge=none", "--iptables=false", "--ip6tables=false"];
    const kept = isLiveRestoring ? ["--live-restore"] : [];
    const child = spawn("unshare", ["--net", "dockerd", ...folders, "-H", this.host, ...alone, ...kept], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const log = createWriteStream(path("log"), { flags: "a" });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    this.#child = child;
    await this.#answers(child);
  }

  /** As a restart of its service does: containers end with it, unless it keeps them alive. */
  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // They would keep the folder: what started them knows best how to end them.
    await this.#removeContainers().catch(() => {});
    await this.end();
    await removeMounts(this.#folder);
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #removeContainers(): Promise<void> {
    const engine = await Engine.at(this.#address, 10_000);
    for (const { id } of await engine.containers({})) await engine.remove(id);
  }

  async #answers(child: ChildProcess): Promise<void> {
    const giveUpAt = performance.now() + START_MS;
    while (performance.now() < giveUpAt && child.exitCode === null) {
      const engine = await Engine.at(this.#address, 10_000).catch(() => undefined);
      if (engine !== undefined) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const log = await readFile(join(this.#folder, "log"), "utf8");
    throw new Error(`dockerd does not answer:\n${log.split("\n").slice(-20).join("\n")}`);
  }

  async #load(image: string): Promise<void> {
    const saved = request({ socketPath: SHARED, path: `/images/${encodeURIComponent(image)}/get` });
    saved.end();
    const [archive] = (await once(saved, "response")) as [NodeJS.ReadableStream];
    const headers = { "content-type": "application/x-tar" };
    const loading = request({
      socketPath: this.socket,
      path: "/images/load?quiet=1",
      method: "POST",
      headers,
    });
    archive.pipe(loading);
    const [reply] = (await once(loading, "response")) as [NodeJS.ReadableStream];
    reply.resume();
    await once(reply, "end");
  }
}
