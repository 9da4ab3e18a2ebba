// The process in every model container: serves one version of one model over HTTP, and ends cleanly.
import { writeSync } from "node:fs";
import { type Environment, libraryVariables, readEnvironment } from "./environment.ts";
import { ContainerServer } from "./http.ts";
import { tidyHeap } from "./lean-start.ts";
import { findLoader, readManifest } from "./manifest.ts";
import { heapExceededMessage, watchMemory } from "./memory.ts";
import { ModelThread, type ThreadEnd } from "./model-thread.ts";
import { EXIT_OUT_OF_MEMORY } from "./protocol.ts";

/** A drain that takes longer is cut short. */
const DRAIN_LIMIT_MS = 30_000;

/** Longest path a Unix socket may have everywhere. */
const MAX_SOCKET_PATH_BYTES = 103;

/** Beside the container's own socket; undefined where there is none, or no room in the path. */
function inferSocketOf({ address }: Environment): string | undefined {
  if (!("socketPath" in address)) return undefined;
  const path = `${address.socketPath}i`;
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES ? path : undefined;
}

/** Written at once, since the process may end right after. */
function say(message: string): void {
  try {
    writeSync(2, `windjammer: ${message}\n`);
  } catch {
    // Nobody reads the log any more: what matters is that the process ends.
  }
}

/** One model container: its parts, and the ways it ends. */
class Container {
  readonly #environment: Environment;
  readonly #thread: ModelThread;
  readonly #server: ContainerServer;
  #isEnding = false;

  constructor(environment: Environment) {
    const { modelDir, modelName, modelVersion, threads, memoryLimitMb } = environment;
    const manifest = readManifest(modelDir);
    this.#environment = environment;
    const model = { name: modelName, version: modelVersion };
    const inferSocket = inferSocketOf(environment);
    const thread = new ModelThread(
      { loaderUrl: findLoader(manifest.loader), modelDir, manifest, threads, model, inferSocket },
      memoryLimitMb,
    );
    this.#thread = thread;
    this.#server = new ContainerServer({ model, manifest, thread, inferSocket: () => thread.inferSocket });
  }

  async run(): Promise<void> {
    const { address, memoryLimitMb, exitsWithParent } = this.#environment;
    void this.#thread.ended.then((end) => this.#onThreadEnd(end));
    if (memoryLimitMb !== undefined)
      watchMemory(memoryLimitMb, (message) => void this.#end(EXIT_OUT_OF_MEMORY, message));
    if (exitsWithParent) this.#watchParent();
    process.on("SIGTERM", () => void this.#drain());
    process.on("SIGINT", () => void this.#drain());
    try {
      const shown = await this.#server.listen(address);
      await this.#thread.ready;
      // Not while the model's thread starts: what Node has compiled in advance is of no use under other flags.
      tidyHeap();
      say(`${this.#environment.modelName} version ${this.#environment.modelVersion} is ready on ${shown}`);
    } catch (error) {
      await this.#end(1, (error as Error).message);
    }
  }

  #watchParent(): void {
    const onGone = (): void => void this.#end(0, "the process that started this one has gone");
    process.stdin.on("end", onGone).on("close", onGone).on("error", onGone).resume();
  }

  async #drain(): Promise<void> {
    if (this.#isEnding) return;
    if (!this.#thread.isReady) return this.#end(0, "stopped before it was ready");
    process.removeAllListeners("SIGTERM").removeAllListeners("SIGINT");
    const stopNow = (): void => void this.#end(1, "stopped before its calls were finished");
    process.on("SIGTERM", stopNow).on("SIGINT", stopNow);
    setTimeout(stopNow, DRAIN_LIMIT_MS).unref();
    await Promise.all([this.#server.drain(), this.#thread.drain()]);
    await this.#end(0);
  }

  #onThreadEnd({ exitCode, error }: ThreadEnd): void {
    if (error !== undefined && "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY")
      return void this.#end(EXIT_OUT_OF_MEMORY, heapExceededMessage(this.#environment.memoryLimitMb));
    if (error === undefined) return void this.#end(exitCode, `the model called process.exit(${exitCode})`);
    // The reason goes last: the last line of a container's log is what people are shown first.
    if (error.stack !== undefined) say(error.stack);
    void this.#end(1, `the model threw outside a predict call: ${error.name}: ${error.message}`);
  }

  async #end(exitCode: number, message?: string): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (message !== undefined) say(message);
    const hasEnded = await this.#thread.close();
    this.#server.stopListening();
    // process.exit waits for the worker, which native code can keep busy for long.
    if (hasEnded) process.exit(exitCode);
    process.kill(process.pid, "SIGKILL");
  }
}

try {
  const environment = readEnvironment(process.env);
  for (const [name, value] of Object.entries(libraryVariables(environment.threads)))
    process.env[name] ??= value;
  await new Container(environment).run();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
