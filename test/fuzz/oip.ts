// Fuzzes the Open Inference Protocol by REST and gRPC, with generate, KServe V1 and SageMaker, over deployed functions.
import * as grpc from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import { connect, deployFunction, type Windjammer } from "windjammer";
import { DATATYPE_BYTES } from "../../containers/protocol.ts";
import { type RunningServer, startServer } from "../../core/windjammer.ts";
import { damage, httpGame } from "./http-games.ts";
import type { Random } from "./random.ts";
import type { FuzzCase, FuzzReply, FuzzTarget } from "./runner.ts";

type Kind = "doubles" | "integers" | "strings" | "bytes" | "json";
const KINDS: readonly [Kind, ...Kind[]] = ["doubles", "integers", "strings", "bytes", "json"];
const DATATYPES: readonly [string, ...string[]] = ["FP64", ...Object.keys(DATATYPE_BYTES), "", "FLOAT"];

/** What may come back; 408 only of requests that never end, 100 only of those that asked and left. */
const STATUSES: ReadonlySet<number> = new Set([
  100, 200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501, 505,
]);
/** 500: the model threw on what it got; 503 and 504: overload. Their texts are the model's or the queue's. */
const SERVER_ERRORS = /^\{"error":"(?:model |the |failed )/;

async function open(): Promise<{ server: RunningServer; client: Windjammer }> {
  const server = await startServer({
    port: 0,
    adminPort: 0,
    grpcPort: 0,
    maxBodyBytes: 2 ** 20,
    maxInputs: 200,
    requestTimeoutMs: 2000,
  });
  const client = await connect(server.adminUrl);
  await Promise.all(
    KINDS.map((name) =>
      deployFunction(client, {
        name,
        version: "1",
        inputType: name,
        fn: (inputs: readonly unknown[]) => inputs.map((input) => (Array.isArray(input) ? input.length : 1)),
      }),
    ),
  );
  return { server, client };
}

/** A request that is right, for a model. */
function proper(random: Random, kind: Kind): { readonly inputs: Record<string, unknown>[] } {
  const count = 1 + random.int(4);
  const numbers = (): number[] => Array.from({ length: 3 }, () => random.int(1000));
  if (kind === "doubles" || kind === "integers") {
    const datatype = kind === "doubles" ? "FP64" : "INT32";
    const rows = Array.from({ length: count }, numbers);
    return {
      inputs: [{ name: "input", datatype, shape: [count, 3], data: random.chance(0.5) ? rows : rows.flat() }],
    };
  }
  const data = Array.from({ length: count }, () =>
    kind === "json" ? JSON.stringify(numbers()) : random.text(),
  );
  return { inputs: [{ name: "input", datatype: "BYTES", shape: [count], data }] };
}

/** The same with one thing changed. */
function twisted(random: Random, request: { readonly inputs: Record<string, unknown>[] }): object {
  const [input = {}] = request.inputs;
  const twists: readonly [() => object, ...(() => object)[]] = [
    () => request,
    () => ({ ...request, [random.text()]: random.json() }),
    () => ({ ...request, id: random.json() }),
    () => ({ ...request, parameters: random.json() }),
    () => ({ ...request, parameters: { timeout: random.json(), priority: random.json() } }),
    () => ({ ...request, outputs: random.json() }),
    () => ({
      ...request,
      outputs: [
        { name: "output", parameters: { classification: random.json(), binary_data: random.json() } },
      ],
    }),
    () => ({ inputs: random.json() }),
    () => ({
      inputs: [
        { ...input, shape: random.pick<unknown>([[-1, 3], [1e15], [2 ** 53, 2], [0], [[1]], random.json()]) },
      ],
    }),
    () => ({ inputs: [{ ...input, datatype: random.pick(DATATYPES) }] }),
    () => ({ inputs: [{ ...input, data: random.json(5) }] }),
    () => ({ inputs: [{ ...input, name: random.text() }] }),
    () => ({
      inputs: [
        { ...input, parameters: { content_type: random.pick<unknown>(["fp64", "json", "base64", 1]) } },
      ],
    }),
    () => ({ inputs: [{ ...input, parameters: { binary_data_size: random.json() } }] }),
    () => ({ inputs: [input, input] }),
  ];
  return random.pick(twists)();
}

/** Binary: header and tensor, whose sizes agree or not. */
function binary(random: Random, kind: Kind): { readonly body: Buffer; readonly length: string } {
  const count = random.int(4);
  const elements = Array.from({ length: count }, () => random.bytes(random.int(12)));
  const tensor =
    kind === "doubles" || kind === "integers"
      ? random.bytes(count * (kind === "doubles" ? 8 : 4))
      : Buffer.concat(
          elements.flatMap((element) => {
            const length = Buffer.alloc(4);
            length.writeUInt32LE(random.chance(0.9) ? element.length : random.int(2 ** 31));
            return [length, element];
          }),
        );
  const datatype = kind === "doubles" ? "FP64" : kind === "integers" ? "INT32" : "BYTES";
  const shape = datatype === "BYTES" ? [count] : [count, 1];
  const size = random.chance(0.9) ? tensor.length : random.json();
  const header = Buffer.from(
    JSON.stringify({
      inputs: [{ name: "input", datatype, shape, parameters: { binary_data_size: size } }],
      parameters: { binary_data_output: random.chance(0.5) },
    }),
  );
  const length = random.chance(0.9) ? String(header.length) : random.pick(["0", "-1", "9999999", "x", "1"]);
  return { body: Buffer.concat([header, tensor]), length };
}

const OTHER_PATHS: readonly [string, ...string[]] = [
  "/v2",
  "/v2/health/ready",
  "/v2/models",
  "/v2/models/stats",
  "/v2/models/doubles/versions/1/config",
  "/v2/models/%ff/infer",
  "/v2/models//infer",
  "/v2/models/doubles/versions/../infer",
  "/v2/repository/index",
  "/v2/repository/mine/index",
  "/v2/repository/models/nobody/load",
  "/v1/models/doubles",
  "/ping",
  "/invocations",
];

interface Sent {
  /** Default: infer. */
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

type Request = (random: Random, kind: Kind, model: string) => Sent;

const inferJson: Request = (random, kind) => ({
  body: json(twisted(random, proper(random, kind))),
  headers: encodings(random),
});

const inferBinary: Request = (random, kind) => {
  const { body, length } = binary(random, kind);
  const headers = { "inference-header-content-length": length };
  return { body: random.chance(0.3) ? damage(random, body) : body, headers };
};

/** Those that stand twice come twice as often. */
const REQUESTS: readonly [Request, ...Request[]] = [
  inferJson,
  inferJson,
  inferBinary,
  inferBinary,
  (random, kind) => ({ body: damage(random, json(proper(random, kind))) }),
  (random, _kind, model) => ({
    path: `/v2/models/${model}/generate${random.chance(0.5) ? "_stream" : ""}`,
    body: json(random.pick([{ text_input: random.text() }, { text_input: random.json() }, random.json()])),
  }),
  (random, _kind, model) => ({
    path: `/v1/models/${model}:predict`,
    body: json({ instances: random.pick<unknown>([[[1, 2]], ["a"], random.json(), [random.json()]]) }),
  }),
  (random) => ({ path: random.pick(OTHER_PATHS), body: json(random.json()) }),
];

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

class OipTarget implements FuzzTarget {
  readonly name = "oip";
  readonly #server: RunningServer;
  readonly #client: Windjammer;

  constructor({ server, client }: { server: RunningServer; client: Windjammer }) {
    this.#server = server;
    this.#client = client;
  }

  generate(random: Random): FuzzCase {
    const kind = random.pick(KINDS);
    const url = this.#server.queryUrl;
    const model = random.chance(0.95) ? kind : random.pick(["nobody", "%00", "a/b"]);
    const infer = `/v2/models/${model}${random.chance(0.1) ? `/versions/${random.int(3)}` : ""}/infer`;
    if (random.chance(0.1)) return httpGame(random, { url, path: infer, body: json(proper(random, kind)) });
    const method = random.chance(0.98) ? "POST" : random.pick(["GET", "PUT", "DELETE", "HEAD"]);
    const { path = infer, body, headers = {} } = random.pick(REQUESTS)(random, kind, model);
    return { kind: "http", url, method, path, headers, body };
  }

  check(fuzzed: FuzzCase, { status, headers, body }: FuzzReply): string | undefined {
    if (status === undefined) return fuzzed.kind === "raw" ? undefined : "no reply";
    const text = body.toString("latin1");
    if (!STATUSES.has(status) && !([500, 503, 504].includes(status) && SERVER_ERRORS.test(text)))
      return `status ${status}: ${text.slice(0, 300)}`;
    if (fuzzed.kind === "raw" || status === 200 || body.length === 0) return undefined;
    const error = (JSON.parse(text) as { error?: unknown }).error;
    const isOurs = headers["content-type"]?.includes("application/json") === true;
    return isOurs && typeof error === "string"
      ? undefined
      : `an error in another form: ${text.slice(0, 300)}`;
  }

  async verify(): Promise<void> {
    const body = '{"inputs":[{"name":"input","datatype":"FP64","shape":[2,2],"data":[1,2,3,4]}]}';
    const reply = await fetch(`${this.#server.queryUrl}/v2/models/doubles/infer`, { method: "POST", body });
    const text = await reply.text();
    if (reply.status !== 200 || !text.includes('"data":["2","2"]'))
      throw new Error(`${reply.status} ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
    await this.#server.close();
  }
}

function encodings(random: Random): Record<string, string> {
  return random.chance(0.2) ? { "accept-encoding": random.pick(["gzip", "deflate", "br", "*", ""]) } : {};
}

export async function oipTarget(): Promise<FuzzTarget> {
  return new OipTarget(await open());
}

/** Codes that are documented; UNKNOWN and INTERNAL are faults, but for errors of a model. */
const CODES: ReadonlySet<number> = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.NOT_FOUND,
  grpc.status.RESOURCE_EXHAUSTED,
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.UNIMPLEMENTED,
]);

// oxlint-disable-next-line typescript/no-explicit-any -- a client made at run time has no types
type Client = any;

class GrpcTarget implements FuzzTarget {
  readonly name = "grpc";
  readonly #server: RunningServer;
  readonly #wj: Windjammer;
  readonly #client: Client;

  constructor({ server, client }: { server: RunningServer; client: Windjammer }, service: Client) {
    this.#server = server;
    this.#wj = client;
    this.#client = new service(server.grpcAddress, grpc.credentials.createInsecure());
  }

  generate(random: Random): FuzzCase {
    const kind = random.pick(KINDS);
    const count = random.int(4);
    const contents = random.pick<object | null>([
      null,
      { fp64_contents: Array.from({ length: count }, () => random.next()) },
      { int_contents: Array.from({ length: count }, () => random.int(1000)) },
      { bytes_contents: Array.from({ length: count }, () => random.bytes(random.int(20))) },
    ]);
    const message = {
      model_name: random.chance(0.9) ? kind : random.text(),
      model_version: random.chance(0.9) ? "" : random.text(),
      id: random.text().replace("\ud800", ""),
      inputs: Array.from({ length: random.chance(0.9) ? 1 : random.int(4) }, () => ({
        name: random.chance(0.9) ? "input" : random.text(),
        datatype: random.pick(DATATYPES),
        shape: random.pick<readonly number[]>([
          [count],
          [count, 1],
          [1, count],
          [-1],
          [2 ** 40, 2 ** 40],
          [],
        ]),
        contents,
        parameters: random.chance(0.2) ? { content_type: { string_param: random.text() } } : {},
      })),
      parameters: random.chance(0.2) ? { timeout: { int64_param: random.int(2000) - 10 } } : {},
      raw_input_contents: random.chance(0.4) ? [random.bytes(random.int(40))] : [],
    };
    const method = random.chance(0.95) ? "ModelInfer" : "ModelMetadata";
    return { kind: "call", run: () => this.#send(method, message) };
  }

  async #send(method: string, message: object): Promise<void> {
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      this.#client[method](message, (failure: grpc.ServiceError | null) => resolve(failure));
    });
    if (error === null || CODES.has(error.code)) return;
    const code = String(error.metadata.get("windjammer-code")[0]);
    if (error.code !== grpc.status.INTERNAL || !["MODEL_ERROR", "INVALID_MODEL_OUTPUT"].includes(code))
      throw new Error(`${error.code} ${code}: ${error.details}`);
  }

  check(): undefined {
    return undefined;
  }

  async verify(): Promise<void> {
    const contents = { fp64_contents: [1, 2] };
    await this.#send("ModelInfer", {
      model_name: "doubles",
      inputs: [{ name: "input", datatype: "FP64", shape: [1, 2], contents }],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.#wj.close();
    await this.#server.close();
  }
}

export async function grpcTarget(): Promise<FuzzTarget> {
  const proto = new URL("../../core/frontend/grpc/inference.proto", import.meta.url).pathname;
  const definition = grpc.loadPackageDefinition(await load(proto, { keepCase: true })) as Client;
  return new GrpcTarget(await open(), definition.inference.GRPCInferenceService);
}
