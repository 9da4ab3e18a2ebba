// Fuzzes the Open Inference Protocol by REST over deployed functions: JSON and binary tensors, and its other paths.
import { DATATYPE_BYTES } from "../../containers/protocol.ts";
import { damage, httpGame } from "./http-games.ts";
import {
  checkReply,
  closeModels,
  expectAnswer,
  json,
  type Kind,
  KINDS,
  modelName,
  type Models,
  serveModels,
} from "./models.ts";
import type { Random } from "./random.ts";
import type { FuzzCase, FuzzReply, FuzzTarget } from "./runner.ts";

export const DATATYPES: readonly [string, ...string[]] = [
  "FP64",
  ...Object.keys(DATATYPE_BYTES),
  "",
  "FLOAT",
];

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
];

interface Sent {
  /** Default: infer. */
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

type Request = (random: Random, kind: Kind) => Sent;

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
  (random) => ({ path: random.pick(OTHER_PATHS), body: json(random.json()) }),
];

class OipTarget implements FuzzTarget {
  readonly name = "oip";
  readonly #models: Models;

  constructor(models: Models) {
    this.#models = models;
  }

  generate(random: Random): FuzzCase {
    const kind = random.pick(KINDS);
    const url = this.#models.server.queryUrl;
    const model = modelName(random, kind);
    const infer = `/v2/models/${model}${random.chance(0.1) ? `/versions/${random.int(3)}` : ""}/infer`;
    if (random.chance(0.1)) return httpGame(random, { url, path: infer, body: json(proper(random, kind)) });
    const method = random.chance(0.98) ? "POST" : random.pick(["GET", "PUT", "DELETE", "HEAD"]);
    const { path = infer, body, headers = {} } = random.pick(REQUESTS)(random, kind);
    return { kind: "http", url, method, path, headers, body };
  }

  check(fuzzed: FuzzCase, reply: FuzzReply): string | undefined {
    return checkReply(fuzzed, reply);
  }

  async verify(): Promise<void> {
    const body = '{"inputs":[{"name":"input","datatype":"FP64","shape":[2,2],"data":[1,2,3,4]}]}';
    await expectAnswer(`${this.#models.server.queryUrl}/v2/models/doubles/infer`, body, '"data":["2","2"]');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeModels(this.#models);
  }
}

function encodings(random: Random): Record<string, string> {
  return random.chance(0.2) ? { "accept-encoding": random.pick(["gzip", "deflate", "br", "*", ""]) } : {};
}

export async function oipTarget(): Promise<FuzzTarget> {
  return new OipTarget(await serveModels({}));
}
