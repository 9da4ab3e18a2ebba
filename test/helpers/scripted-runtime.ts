// A runtime whose replicas are HTTP servers in this process, so that a test can script what a container does wrong:
// real Open Inference Protocol over real Unix sockets, with faults on cue.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HEADERS } from "../../containers/protocol.ts";
import { decodeBytes, encodeBytes, encodeHeader, type TensorHeader } from "../../containers/tensors.ts";
import type { ReplicaSpec, Runtime, RunningReplica } from "../../core/runtimes/runtime.ts";
import type { LogLine, ReplicaExit } from "../../core/types.ts";

/** One call as the script sees it: JSON values of a `json` contract, one a row. */
export interface ScriptedCall {
  readonly replica: string;
  readonly inputs: readonly unknown[];
  /** How long it is told that somebody waits. */
  readonly deadlineMs: number;
}

/** What the container does: answers values, fails the whole batch, never answers, breaks the connection, or dies. */
export type ScriptedAnswer =
  | { readonly outputs: readonly unknown[] }
  | {
      readonly errors: readonly ({ readonly code: string; readonly message: string } | undefined)[];
      readonly outputs: readonly unknown[];
    }
  | { readonly status: number; readonly error: string }
  | "hang"
  | "disconnect"
  | "die";

export type Script = (call: ScriptedCall) => ScriptedAnswer | Promise<ScriptedAnswer>;

export class ScriptedReplica implements RunningReplica {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly address: { readonly socketPath: string };
  readonly handle = "in-process";
  readonly startedAt: string = new Date().toISOString();
  readonly exited: Promise<ReplicaExit>;
  readonly lines: LogLine[] = [];
  hasEnded = false;
  readonly #server: Server;
  readonly #running = new Set<ServerResponse>();
  #exit: (exit: ReplicaExit) => void = () => undefined;

  constructor(spec: ReplicaSpec, socketPath: string, script: Script) {
    this.id = spec.id;
    this.model = spec.model;
    this.version = spec.version;
    this.address = { socketPath };
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
    this.#server = createServer((request, response) => {
      this.#running.add(response);
      response.on("close", () => this.#running.delete(response));
      void this.#serve({ request, response }, spec, script);
    });
    this.#server.listen(socketPath);
  }

  tail(lines: number): readonly LogLine[] {
    return this.lines.slice(-lines);
  }

  async *logs(): AsyncIterable<LogLine> {
    yield* this.lines;
  }

  stats(): Promise<{ memoryBytes: number; cpuMs: number }> {
    return Promise.resolve({ memoryBytes: 0, cpuMs: 0 });
  }

  /** Ends at once, like a killed process: connections break. */
  die(exit: ReplicaExit, lastWords?: string): void {
    if (lastWords !== undefined)
      this.lines.push({ at: new Date().toISOString(), stream: "stderr", text: lastWords });
    this.#server.closeAllConnections();
    this.#server.close();
    this.hasEnded = true;
    this.#exit(exit);
  }

  async stop(graceMs: number): Promise<void> {
    const until = Date.now() + graceMs;
    while (this.#running.size > 0 && Date.now() < until) {
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
    this.die({ reason: "stopped", message: "was stopped" });
  }

  async #serve(
    { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
    spec: ReplicaSpec,
    script: Script,
  ): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method === "GET") {
      response.end(request.url?.endsWith("/ready") ? '{"ready":true}' : JSON.stringify(metadata(spec)));
      return;
    }
    const inputs = readInputs(request, Buffer.concat(chunks));
    const startedAt = performance.now();
    const deadlineMs = Number(request.headers[HEADERS.deadlineMs]);
    const answer = await script({ replica: this.id, inputs, deadlineMs });
    const computeUs = Math.round(1000 * (performance.now() - startedAt));
    if (answer === "hang") return;
    if (answer === "disconnect") response.destroy();
    else if (answer === "die") {
      this.die(
        { reason: "exited", exitCode: 3, message: "exited with code 3" },
        "Segmentation fault (scripted)",
      );
    } else if ("status" in answer) {
      response.writeHead(answer.status).end(JSON.stringify({ error: answer.error }));
    } else {
      reply(response, answer, computeUs);
    }
  }
}

export class ScriptedRuntime implements Runtime {
  readonly name = "scripted";
  readonly abilities = {
    isolation: "process",
    hasGpu: false,
    survivesFrontend: false,
    runs: ["node", "python", "image", "dockerfile", "command"],
    enforces: [],
  } as const;
  readonly started: ScriptedReplica[] = [];
  script: Script;
  /** Set: the next starts fail like this. */
  startError: Error | undefined;
  readonly #folder: string = mkdtempSync(join(tmpdir(), "wj-scripted-"));

  constructor(script: Script) {
    this.script = script;
  }

  async open(): Promise<void> {}

  async prepare(): Promise<string> {
    return "scripted";
  }

  async start(spec: ReplicaSpec): Promise<RunningReplica> {
    if (this.startError !== undefined) throw this.startError;
    const replica = new ScriptedReplica(spec, join(this.#folder, `${this.started.length}.sock`), (call) =>
      this.script(call),
    );
    this.started.push(replica);
    return replica;
  }

  async list(): Promise<readonly RunningReplica[]> {
    return this.started.filter((replica) => !replica.hasEnded);
  }

  async close(): Promise<void> {
    await Promise.all(this.started.map((replica) => replica.stop(0)));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function metadata(spec: ReplicaSpec): object {
  const { contract } = spec.bundle.manifest;
  const withBatch = (shape: readonly number[]): readonly number[] =>
    contract.isBatched ? [-1, ...shape] : shape;
  return {
    name: spec.model,
    inputs: contract.inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape: withBatch(shape) })),
    outputs: contract.outputs.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: withBatch(shape),
    })),
  };
}

function readInputs(request: IncomingMessage, body: Buffer): readonly unknown[] {
  const headerLength = Number(request.headers["inference-header-content-length"]);
  const header = JSON.parse(body.subarray(0, headerLength).toString()) as { inputs: TensorHeader[] };
  const count = header.inputs[0]?.shape[0] ?? 0;
  return decodeBytes(body.subarray(headerLength), count).map(
    (element) => JSON.parse(Buffer.from(element).toString()) as unknown,
  );
}

function reply(
  response: ServerResponse,
  answer: Extract<ScriptedAnswer, { outputs: unknown }>,
  computeUs: number,
): void {
  const tensors = [
    {
      name: "output",
      type: "json",
      data: encodeBytes(answer.outputs.map((value) => Buffer.from(JSON.stringify(value)))),
    },
  ];
  if ("errors" in answer) {
    const elements = answer.errors.map((error) =>
      Buffer.from(error === undefined ? "" : JSON.stringify(error)),
    );
    tensors.push({ name: "windjammer_errors", type: "error", data: encodeBytes(elements) });
  }
  const header = encodeHeader({
    outputs: tensors.map(({ name, type, data }) => ({
      name,
      datatype: "BYTES",
      shape: [answer.outputs.length],
      parameters: { content_type: type, binary_data_size: data.byteLength },
    })),
  });
  response.writeHead(200, {
    "inference-header-content-length": header.byteLength,
    "windjammer-compute-us": String(computeUs),
  });
  response.end(Buffer.concat([header, ...tensors.map(({ data }) => data)]));
}
