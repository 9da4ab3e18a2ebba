// Fuzzes the forms of one model's hosts (KServe V1, SageMaker, Vertex AI), generate, and the documents and their page.
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

const VERTEX = { predictRoute: "/by-vertex", healthRoute: "/well-by-vertex" } as const;

interface Sent {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

type Request = (random: Random) => Sent;

/** Right for its type, mostly. */
function inputOf(random: Random, kind: Kind): unknown {
  if (random.chance(0.1)) return random.json();
  if (kind === "strings") return random.text();
  if (kind === "json") return random.json();
  if (kind === "bytes") {
    const b64 = random.bytes(random.int(60)).toString("base64");
    return random.chance(0.5) ? b64 : { b64 };
  }
  return Array.from({ length: random.int(random.chance(0.02) ? 3000 : 12) }, () =>
    kind === "integers" ? random.int(2 ** 31) : (random.next() - 0.5) * 10 ** random.int(12),
  );
}

function instances(random: Random, kind: Kind): object {
  if (random.chance(0.1)) return { instances: random.json() };
  const length = random.int(random.chance(0.02) ? 300 : 6);
  return {
    instances: Array.from({ length }, () => inputOf(random, kind)),
    ...(random.chance(0.1) ? { [random.text()]: random.json() } : {}),
  };
}

const kserve: Request = (random) => {
  const kind = random.pick(KINDS);
  const version = random.chance(0.1) ? `/versions/${random.pick(["1", "2", "%31", ""])}` : "";
  return {
    path: `/v1/models/${modelName(random, kind)}${version}:predict`,
    body: json(instances(random, kind)),
  };
};

const sagemaker: Request = (random) => {
  const kind = random.pick(KINDS);
  const isCsv = random.chance(0.4);
  const csv = Array.from({ length: random.int(5) }, () =>
    Array.from({ length: random.int(6) }, () =>
      random.pick(["1", " 2.5", "1e400", "", "x", '"3"', "0x10"]),
    ).join(),
  );
  const target = random.chance(0.7) ? { "x-amzn-sagemaker-target-model": modelName(random, kind) } : {};
  const body = random.chance(0.5) ? instances(random, kind) : inputOf(random, kind);
  return {
    path: "/invocations",
    headers: {
      ...target,
      ...(isCsv ? { "content-type": random.pick(["text/csv", "Text/CSV; charset=x"]) } : {}),
    },
    body: isCsv ? Buffer.from(csv.join(random.pick(["\n", "\r\n"]))) : json(body ?? null),
  };
};

const vertex: Request = (random) => ({ path: VERTEX.predictRoute, body: json(instances(random, "doubles")) });

const generate: Request = (random) => {
  const kind = random.pick(KINDS);
  const text = random.pick<unknown>([random.text(), random.json()]);
  const body = random.pick<unknown>([
    { text_input: text },
    { text_input: text, id: random.json(0), parameters: random.json(2) },
    { text_input: text, timeout: random.json(0), priority: random.json(0), [random.text()]: random.json() },
    { inputs: random.json() },
    { inputs: [{ name: "input", datatype: "BYTES", shape: [1], data: [random.text()] }] },
    random.json(),
  ]);
  const operation = random.chance(0.5) ? "generate" : "generate_stream";
  return { path: `/v2/models/${modelName(random, kind)}/${operation}`, body: json(body) };
};

const PATHS: readonly [string, ...string[]] = [
  "/",
  "/openapi.json",
  "/doubles/openapi.json",
  "/nobody/openapi.json",
  "/%ff/openapi.json",
  "/docs",
  "/docs/",
  "/docs/start.js",
  "/docs/package.json",
  "/docs/..%2f..%2fpackage.json",
  "/docs/%2e%2e/%2e%2e/etc/passwd",
  "/doubles",
  "/v1/models",
  "/v1/models/doubles",
  "/v1/models/%",
  "/ping",
  "/metrics",
  "/metrics?format=clipper",
  "/health/ready",
  VERTEX.healthRoute,
];

/** To be read, not asked for. */
function look(random: Random): Sent & { readonly method: string } {
  // A megabyte each: not often.
  const file = random.chance(0.01) ? "/docs/swagger-ui-bundle.js" : random.pick(PATHS);
  const path = random.chance(0.2)
    ? `${file}${random.pick(["?", "?a[b]=c&%", "//", "/x", ";", "?".repeat(500)])}`
    : file;
  const method = random.chance(0.85)
    ? "GET"
    : random.pick(["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);
  const headers = { accept: random.pick(["*/*", "application/json", "text/html;q=x", ""]) };
  return { path, method, headers, body: method === "GET" ? Buffer.alloc(0) : json(random.json()) };
}

const REQUESTS: readonly [Request, ...Request[]] = [kserve, sagemaker, vertex, generate];

class HostsTarget implements FuzzTarget {
  readonly name = "hosts";
  readonly #models: Models;

  constructor(models: Models) {
    this.#models = models;
  }

  generate(random: Random): FuzzCase {
    const url = this.#models.server.queryUrl;
    if (random.chance(0.15)) {
      const looked = look(random);
      return random.chance(0.1) ? httpGame(random, { url, ...looked }) : { kind: "http", url, ...looked };
    }
    const sent = random.pick(REQUESTS)(random);
    const body = random.chance(0.3) ? damage(random, sent.body) : sent.body;
    if (random.chance(0.1)) return httpGame(random, { url, path: sent.path, body });
    const method = random.chance(0.98) ? "POST" : random.pick(["GET", "PUT", "DELETE", "HEAD"]);
    return { kind: "http", url, method, ...sent, body };
  }

  check(fuzzed: FuzzCase, reply: FuzzReply): string | undefined {
    return checkReply(fuzzed, reply);
  }

  async verify(): Promise<void> {
    const { queryUrl } = this.#models.server;
    const two = '{"instances":[[1,2],[3]]}';
    await expectAnswer(`${queryUrl}/v1/models/doubles:predict`, two, '{"predictions":[2,1]}');
    await expectAnswer(`${queryUrl}/invocations`, "[1,2,3]", "3");
    await expectAnswer(queryUrl + VERTEX.predictRoute, two, '{"predictions":[2,1]}');
    await expectAnswer(`${queryUrl}/v2/models/strings/generate`, '{"text_input":"x"}', '"text_output":"1"');
    const page = await fetch(`${queryUrl}/docs`);
    if (!(await page.text()).includes("<html")) throw new Error(`/docs: ${page.status}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeModels(this.#models);
  }
}

/** Of the only application, "doubles"; the others are models without one. */
export async function hostsTarget(): Promise<FuzzTarget> {
  return new HostsTarget(await serveModels({ vertex: VERTEX }, ["doubles"]));
}
