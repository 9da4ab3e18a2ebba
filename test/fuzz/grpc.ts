// Fuzzes the Open Inference Protocol by gRPC: messages whose contents, shapes and types do not agree.
import * as grpc from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import { damage } from "./http-games.ts";
import { closeModels, KINDS, type Models, serveModels } from "./models.ts";
import { DATATYPES } from "./oip.ts";
import type { Random } from "./random.ts";
import type { FuzzCase, FuzzTarget } from "./runner.ts";

/** Codes that are documented; CANCELLED is the client's own. */
const CODES: ReadonlySet<number> = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.NOT_FOUND,
  grpc.status.RESOURCE_EXHAUSTED,
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.UNIMPLEMENTED,
  grpc.status.CANCELLED,
]);

// oxlint-disable-next-line typescript/no-explicit-any -- a client made at run time has no types
type Client = any;

class GrpcTarget implements FuzzTarget {
  readonly name = "grpc";
  readonly #models: Models;
  readonly #client: Client;

  constructor(models: Models, service: Client) {
    this.#models = models;
    this.#client = new service(models.server.grpcAddress, grpc.credentials.createInsecure());
  }

  generate(random: Random): FuzzCase {
    const share = random.next();
    if (share < 0.1) return { kind: "call", run: () => this.#damaged(random) };
    if (share < 0.2) return { kind: "call", run: () => this.#stream(random) };
    if (share < 0.3) {
      const method = random.pick(OTHERS);
      const name = random.pick(["doubles", "nobody", "", random.text()]);
      const message = {
        name,
        model_name: name,
        version: random.pick(["", "1", "2"]),
        ready: random.chance(0.5),
      };
      return { kind: "call", run: () => this.#send(method, message) };
    }
    const message = random.chance(0.4) ? proper(random) : strange(random);
    return { kind: "call", run: () => this.#send("ModelInfer", message) };
  }

  /** Gives 200, or 1000 and gRPC's own code. */
  #send(method: string, message: object): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#client[method](message, (error: grpc.ServiceError | null) => {
        settle(error, resolve, reject);
      });
    });
  }

  /** Bytes that are no message, or too many of them. */
  #damaged(random: Random): Promise<number> {
    const { path, requestSerialize } = this.#client.ModelInfer;
    const right = requestSerialize(proper(random)) as Buffer;
    const bytes = random.chance(0.02) ? Buffer.alloc(2 ** 20 + 1) : damage(random, right);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, asIs, asIs, bytes, (error: grpc.ServiceError | null) => {
        settle(error, resolve, reject);
      });
    });
  }

  /** Some requests at once, read to the end or left in the middle. */
  #stream(random: Random): Promise<number> {
    const stream = this.#client.ModelStreamInfer();
    for (let count = random.int(4); count > 0; count--)
      stream.write(random.chance(0.5) ? proper(random) : strange(random));
    if (random.chance(0.3)) setTimeout(() => stream.cancel(), random.int(5));
    else stream.end();
    stream.resume();
    return new Promise((resolve, reject) => {
      stream.on("error", (error: grpc.ServiceError) => settle(error, resolve, reject));
      stream.on("end", () => resolve(200));
    });
  }

  check(): undefined {
    return undefined;
  }

  async verify(): Promise<void> {
    const contents = { fp64_contents: [1, 2] };
    const status = await this.#send("ModelInfer", {
      model_name: "doubles",
      inputs: [{ name: "input", datatype: "FP64", shape: [1, 2], contents }],
    });
    if (status !== 200) throw new Error(`gRPC status ${status - 1000}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await closeModels(this.#models);
  }
}

const OTHERS: readonly [string, ...string[]] = [
  "ServerReady",
  "ModelReady",
  "ServerMetadata",
  "ModelMetadata",
  "ModelConfig",
  "ModelStatistics",
  "RepositoryIndex",
];

function settle(
  error: grpc.ServiceError | null,
  resolve: (status: number) => void,
  reject: (error: Error) => void,
): void {
  if (error === null) resolve(200);
  else if (isDocumented(error)) resolve(1000 + error.code);
  else reject(new Error(`${error.code}: ${error.details}`));
}

/** INTERNAL only of a model's error, and from gRPC itself for bytes that are no message. */
function isDocumented({ code, details, metadata }: grpc.ServiceError): boolean {
  if (code !== grpc.status.INTERNAL) return CODES.has(code);
  const ours = String(metadata.get("windjammer-code")[0]);
  return ["MODEL_ERROR", "INVALID_MODEL_OUTPUT"].includes(ours) || details.startsWith("Error deserializing");
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

/** A request that is right. */
function proper(random: Random): object {
  const count = 1 + random.int(4);
  const numbers = Array.from({ length: count }, () => random.next());
  const raw = Buffer.from(new Float64Array(numbers).buffer);
  const isRaw = random.chance(0.5);
  const input = { name: "input", datatype: "FP64", shape: [1, count] };
  return {
    model_name: "doubles",
    inputs: [isRaw ? input : { ...input, contents: { fp64_contents: numbers } }],
    raw_input_contents: isRaw ? [raw] : [],
  };
}

/** Contents, shape, type and names that need not agree. */
function strange(random: Random): object {
  const count = random.int(4);
  const contents = random.pick<object | null>([
    null,
    { fp64_contents: Array.from({ length: count }, () => random.next()) },
    { int_contents: Array.from({ length: count }, () => random.int(1000)) },
    { bytes_contents: Array.from({ length: count }, () => random.bytes(random.int(20))) },
  ]);
  const shape = random.pick<readonly number[]>([
    [count],
    [count, 1],
    [1, count],
    [-1],
    [2 ** 40, 2 ** 40],
    [],
  ]);
  return {
    model_name: random.chance(0.9) ? random.pick(KINDS) : random.text(),
    model_version: random.chance(0.9) ? "" : random.text(),
    id: random.text().replace("\ud800", ""),
    inputs: Array.from({ length: random.chance(0.9) ? 1 : random.int(4) }, () => ({
      name: random.chance(0.9) ? "input" : random.text(),
      datatype: random.pick(DATATYPES),
      shape,
      contents,
      parameters: random.chance(0.2) ? { content_type: { string_param: random.text() } } : {},
    })),
    parameters: random.chance(0.2) ? { timeout: { int64_param: random.int(2000) - 10 } } : {},
    raw_input_contents: random.chance(0.4) ? [random.bytes(random.int(40))] : [],
  };
}

export async function grpcTarget(): Promise<FuzzTarget> {
  const proto = new URL("../../core/frontend/grpc/inference.proto", import.meta.url).pathname;
  const definition = grpc.loadPackageDefinition(await load(proto, { keepCase: true })) as Client;
  return new GrpcTarget(await serveModels({ grpcPort: 0 }), definition.inference.GRPCInferenceService);
}
