// Runs containers/server.ts as a real process for tests, and speaks the Open Inference Protocol with it.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Deployer } from "../../core/index.ts";
import { ENV, ERROR_TENSOR, HEADERS, type ItemError, type Manifest } from "../../containers/protocol.ts";
import {
  binaryHeader,
  decodeBytes,
  encodeBytes,
  encodeHeader,
  sliceBinary,
  type Tensor,
  type TensorHeader,
} from "../../containers/tensors.ts";

/** Program and arguments of a model container's server. */
export type ServerCommand = readonly [file: string, ...args: string[]];

export const NODE_SERVER: ServerCommand = [
  process.execPath,
  fileURLToPath(new URL("../../containers/server.ts", import.meta.url)),
];
const NODE_MODULES: string = fileURLToPath(new URL("../../node_modules", import.meta.url));

/** A bundle on disk in a folder of its own. */
export interface BundleOnDisk extends AsyncDisposable {
  /** `WINDJAMMER_MODEL_DIR`. */
  readonly files: string;
  /** Private folder around it, also for sockets. */
  readonly root: string;
}

export type BundleFiles = Readonly<Record<string, string | Uint8Array>>;

/** The manifest of a function that takes and gives JSON, with `fields` over it. */
export function jsonFunction(fields: Partial<Manifest> = {}): Manifest {
  return {
    format: 1,
    deployer: "test",
    loader: "function",
    inputType: "json",
    contract: {
      inputs: [{ name: "input", datatype: "BYTES", shape: [], contentType: "json" }],
      outputs: [{ name: "output", datatype: "BYTES", shape: [], contentType: "json" }],
      isBatched: true,
    },
    packages: {},
    allowScripts: {},
    environment: {},
    model: { file: "function.mjs", export: "predict" },
    notes: [],
    ...fields,
  };
}

/** Writes a bundle; its packages resolve to those of the repository unless `hasPackages` is false. */
export async function writeBundle(
  manifest: Manifest,
  files: BundleFiles,
  hasPackages = true,
): Promise<BundleOnDisk> {
  const root = await mkdtemp(join(tmpdir(), "wj-"));
  const folder = join(root, "files");
  await mkdir(folder);
  await writeFile(join(folder, "manifest.json"), JSON.stringify(manifest));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  if (hasPackages) await symlink(NODE_MODULES, join(root, "node_modules"));
  return onDisk(root);
}

function onDisk(root: string): BundleOnDisk {
  return {
    files: join(root, "files"),
    root,
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

/** What a deployer makes of `options`; its packages resolve to those of `nodeModules`, the repository's by default. */
export async function deployerBundle<Options extends object>(
  deployer: Deployer<Options>,
  options: Options,
  nodeModules: string | undefined = NODE_MODULES,
): Promise<BundleOnDisk> {
  const root = await mkdtemp(join(tmpdir(), "wj-"));
  const folder = join(root, "files");
  await mkdir(folder);
  const manifest = await deployer.bundle(options, folder, () => {});
  await writeFile(join(folder, "manifest.json"), JSON.stringify(manifest));
  await symlink(nodeModules, join(root, "node_modules"));
  return onDisk(root);
}

/** A bundle of one function module. */
export function functionBundle(code: string, fields: Partial<Manifest> = {}): Promise<BundleOnDisk> {
  return writeBundle(jsonFunction(fields), { "function.mjs": code });
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  json(): unknown;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface InferResult {
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly errors: readonly (ItemError | undefined)[];
  readonly computeUs: number;
}

/** A running model container. */
export class TestContainer {
  readonly process: ChildProcess;
  readonly socketPath: string;
  readonly exited: Promise<Exit>;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #waiting = new Set<() => void>();
  #stdout = "";
  #stderr = "";
  #hasEnded = false;

  private constructor(process: ChildProcess, socketPath: string) {
    this.process = process;
    this.socketPath = socketPath;
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.exited = promise;
    // Behind the last words, which may come after the exit.
    process.on("close", (code, signal) => {
      this.#hasEnded = true;
      resolve({ code, signal });
      this.#wake();
    });
    process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
      this.#wake();
    });
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
      this.#wake();
    });
  }

  /** Starts without waiting. */
  static spawn(
    bundle: BundleOnDisk,
    environment: Readonly<Record<string, string>> = {},
    [file, ...args]: ServerCommand = NODE_SERVER,
  ): TestContainer {
    const socketPath = join(bundle.root, "s");
    const child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"] ?? "",
        [ENV.socket]: socketPath,
        [ENV.modelDir]: bundle.files,
        [ENV.modelName]: "m",
        [ENV.modelVersion]: "1",
        ...environment,
      },
    });
    return new TestContainer(child, socketPath);
  }

  /** Starts and waits until it is ready. @throws with its log when it ends before */
  static async start(
    bundle: BundleOnDisk,
    environment: Readonly<Record<string, string>> = {},
    command: ServerCommand = NODE_SERVER,
  ): Promise<TestContainer> {
    const container = TestContainer.spawn(bundle, environment, command);
    await container.said("is ready on");
    return container;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Waits until its log holds `text`. @throws when it ends before */
  async said(text: string): Promise<void> {
    while (!this.#stdout.includes(text) && !this.#stderr.includes(text)) {
      if (this.#hasEnded) throw new Error(`the container ended before it said "${text}": ${this.#stderr}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await promise;
    }
  }

  async call(
    method: string,
    path: string,
    options: {
      readonly body?: Uint8Array | string;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const sent = request(
      { socketPath: this.socketPath, method, path, agent: this.#agent, headers: { ...options.headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const body = Buffer.concat(chunks);
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body, json: () => JSON.parse(body.toString("utf8")) as unknown });
        });
      },
    );
    sent.on("error", reject);
    sent.end(options.body);
    return promise;
  }

  get(path: string): Promise<Reply> {
    return this.call("GET", path);
  }

  /** An infer call with a JSON body. */
  inferJson(body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    return this.call("POST", "/v2/models/m/infer", { body: JSON.stringify(body), headers });
  }

  /** An infer call with binary tensors. */
  async infer(
    inputs: readonly Tensor[],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<InferResult> {
    const reply = await this.inferRaw(inputs, headers);
    if (reply.status !== 200) throw new Error(`status ${reply.status}: ${reply.body.toString("utf8")}`);
    return parseReply(reply);
  }

  inferRaw(inputs: readonly Tensor[], headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    const header = encodeHeader({ inputs: inputs.map(binaryHeader) });
    return this.call("POST", "/v2/models/m/infer", {
      body: Buffer.concat([header, ...inputs.map(({ data }) => data)]),
      headers: { [HEADERS.inferenceHeaderLength]: `${header.byteLength}`, ...headers },
    });
  }

  /** JSON values in, JSON values out; an `ItemError` for a row that failed. */
  async predict(values: readonly unknown[]): Promise<unknown[]> {
    const { outputs, errors } = await this.infer([jsonTensor("input", values)]);
    const texts = textsOf(outputs.get("output"));
    return values.map((_, row) => errors[row] ?? (JSON.parse(texts[row] ?? "") as unknown));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    this.process.kill("SIGKILL");
    await this.exited;
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

export function jsonTensor(name: string, values: readonly unknown[]): Tensor {
  return {
    name,
    datatype: "BYTES",
    shape: [values.length],
    data: encodeBytes(values.map((value) => Buffer.from(JSON.stringify(value)))),
    contentType: "json",
  };
}

/** Elements of a BYTES tensor as texts. */
export function textsOf(tensor: Tensor | undefined): string[] {
  if (tensor === undefined) throw new Error("no such output");
  return decodeBytes(tensor.data, tensor.shape[0] ?? 0).map((element) =>
    Buffer.from(element).toString("utf8"),
  );
}

export function parseReply(reply: Reply): InferResult {
  const length = Number(reply.headers[HEADERS.inferenceHeaderLength]);
  const header = JSON.parse(reply.body.subarray(0, length).toString("utf8")) as { outputs: TensorHeader[] };
  const data = sliceBinary(header.outputs, reply.body, length);
  const outputs = new Map<string, Tensor>();
  for (const { name, datatype, shape, parameters } of header.outputs) {
    const contentType = parameters?.["content_type"] as string | undefined;
    outputs.set(name, {
      name,
      datatype,
      shape,
      data: data.get(name) ?? new Uint8Array(0),
      ...(contentType === undefined ? {} : { contentType }),
    });
  }
  const errors = outputs.get(ERROR_TENSOR);
  return {
    outputs,
    errors:
      errors === undefined
        ? []
        : textsOf(errors).map((text) => (text === "" ? undefined : (JSON.parse(text) as ItemError))),
    computeUs: Number(reply.headers[HEADERS.computeUs]),
  };
}
