// Fuzzes what speaks Clipper: predictions and feedback of all input types, the management API, and the RPC port.
import { Dealer } from "zeromq";
import { type RunningServer, startServer } from "../../core/windjammer.ts";
import { TestContainer } from "../helpers/clipper-container.ts";
import { damage, httpGame } from "./http-games.ts";
import type { Random } from "./random.ts";
import type { FuzzCase, FuzzReply, FuzzTarget } from "./runner.ts";

/** Applications, by the input type on the wire of their containers. */
const APPLICATIONS = [
  ["bytes", 0],
  ["integers", 1],
  ["floats", 2],
  ["doubles", 3],
  ["strings", 4],
] as const;
const NAMES: readonly [string, ...string[]] = [
  "bytes",
  "integers",
  "floats",
  "doubles",
  "strings",
  "alone",
  "nobody",
];

/** What may come back; 408 only of requests that never end. */
const STATUSES: ReadonlySet<number> = new Set([
  200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501, 505,
]);
/** Errors of the server's side that are documented and can happen here. */
const CODES: ReadonlySet<string> = new Set([
  "OVERLOADED",
  "NO_REPLICA",
  "NO_MODEL_LINKED",
  "DEADLINE_EXCEEDED",
  "REPLICA_LOST",
  "MODEL_ERROR",
  "INVALID_MODEL_OUTPUT",
]);

export async function clipperTarget(): Promise<FuzzTarget> {
  const server = await startServer({
    port: 0,
    adminPort: 0,
    maxBodyBytes: 2 ** 20,
    maxInputs: 200,
    requestTimeoutMs: 2000,
    clipper: { adminPort: 0, rpcPort: 0 },
  });
  const target = new ClipperTarget(server);
  await target.open();
  return target;
}

class ClipperTarget implements FuzzTarget {
  readonly name = "clipper";
  readonly #server: RunningServer;
  readonly #adminUrl: string;
  readonly #endpoint: string;
  readonly #containers: TestContainer[] = [];
  #stranger: Dealer | undefined;
  #lastSent: Promise<void> = Promise.resolve();

  constructor(server: RunningServer) {
    this.#server = server;
    this.#adminUrl = server.clipper?.adminUrl ?? "";
    this.#endpoint = server.clipper?.rpcEndpoint ?? "";
  }

  async open(): Promise<void> {
    for (const [name, inputType] of APPLICATIONS) {
      const application = { name, input_type: name, default_output: "-1.0", latency_slo_micros: 2_000_000 };
      await this.#admin("add_app", application);
      await this.#admin("add_model", modelBody(name, "1", name));
      await this.#admin("add_model_links", { app_name: name, model_names: [name] });
      this.#containers.push(
        new TestContainer({ endpoint: this.#endpoint, model: name, inputType, predict: lengths }),
      );
    }
    // Linked to no model.
    await this.#admin("add_app", {
      name: "alone",
      input_type: "doubles",
      default_output: "-1.0",
      latency_slo_micros: 2_000_000,
    });
    this.#stranger = new Dealer({ linger: 0 });
    this.#stranger.connect(this.#endpoint);
    const end = performance.now() + 10_000;
    while (
      JSON.parse(await this.#admin("get_all_containers", { verbose: false })).length < APPLICATIONS.length
    ) {
      if (performance.now() > end) throw new Error("the containers did not connect within 10 s");
    }
  }

  generate(random: Random): FuzzCase {
    const share = random.next();
    if (share < 0.02) return { kind: "call", run: () => this.#strangeMessage(random) };
    const onAdmin = random.chance(0.15);
    const url = onAdmin ? this.#adminUrl : this.#server.queryUrl;
    const [path, right] = onAdmin ? adminRequest(random) : queryRequest(random);
    const body = random.chance(0.35) ? damage(random, right) : right;
    if (share < 0.08) return httpGame(random, { url, path, body });
    return {
      kind: "http",
      url,
      method: random.chance(0.98) ? "POST" : "PUT",
      path,
      body,
      headers: headers(random),
    };
  }

  check(fuzzed: FuzzCase, { status, body }: FuzzReply): string | undefined {
    if (fuzzed.kind === "call") return undefined;
    if (status === undefined) return fuzzed.kind === "raw" ? undefined : "closed without a reply";
    if (STATUSES.has(status))
      return fuzzed.kind === "raw" ? undefined : this.#checkBody(fuzzed, status, body);
    const code = /"error":"([A-Z_]+)"/.exec(body.toString("latin1"))?.[1];
    return code !== undefined && CODES.has(code)
      ? undefined
      : `status ${status}: ${body.toString("utf8").slice(0, 300)}`;
  }

  async verify(): Promise<void> {
    for (const [name, input, expected] of [
      ["bytes", "AAEC", 3],
      ["integers", [1, 2], 8],
      ["floats", [1], 4],
      ["doubles", [1, 2], 16],
      ["strings", "käse", 5],
    ] as const) {
      const reply = await fetch(`${this.#server.queryUrl}/${name}/predict`, {
        method: "POST",
        body: JSON.stringify({ input }),
      });
      const text = await reply.text();
      if (!text.includes(`"output":${expected},"default":false`)) throw new Error(`${name}: ${text}`);
    }
    const ping = await fetch(`${this.#adminUrl}/admin/ping`);
    if ((await ping.text()) !== "PONG") throw new Error("the management API does not answer");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stranger?.close();
    await Promise.all(this.#containers.map((container) => container.close()));
    await this.#server.close();
  }

  /** Replies of the query API are JSON, but for feedback; those of the management API are texts. */
  #checkBody(
    { url, path }: Extract<FuzzCase, { kind: "http" }>,
    status: number,
    body: Buffer,
  ): string | undefined {
    if (url === this.#adminUrl || path.includes("/update")) return undefined;
    try {
      JSON.parse(body.toString());
      return undefined;
    } catch {
      return `status ${status} with a body that is no JSON: ${body.toString("utf8").slice(0, 300)}`;
    }
  }

  /** Any frames at all, of a container that nobody knows. */
  async #strangeMessage(random: Random): Promise<undefined> {
    const frames = Array.from({ length: random.int(7) }, () =>
      random.chance(0.4)
        ? Buffer.from([random.int(4), 0, 0, 0])
        : random.pick([Buffer.alloc(0), random.bytes(random.int(40)), Buffer.from("ghost")]),
    );
    const start = random.chance(0.8) ? [Buffer.alloc(0)] : [];
    // One after the other: a socket takes no second message while it writes one.
    const sent = this.#lastSent.then(() => this.#stranger?.send([...start, ...frames, Buffer.alloc(0)]));
    this.#lastSent = sent.catch(() => undefined);
    await sent;
  }

  async #admin(call: string, body: object): Promise<string> {
    const reply = await fetch(`${this.#adminUrl}/admin/${call}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    const text = await reply.text();
    if (!reply.ok) throw new Error(text);
    return text;
  }
}

function lengths(inputs: readonly Buffer[]): readonly string[] {
  return inputs.map(({ length }) => String(length));
}

function headers(random: Random): Readonly<Record<string, string>> {
  if (random.chance(0.8)) return { "content-type": "application/json" };
  return random.pick<Readonly<Record<string, string>>>([
    { "x-windjammer-timeout-ms": random.pick(["", "0", "1", "1e9", "abc", "999999999999"]) },
    { "content-encoding": random.pick(["gzip", "identity", "deflate", "zstd"]) },
    { "content-type": "text/plain; charset=utf-16" },
    { accept: "text/html" },
  ]);
}

function queryRequest(random: Random): readonly [path: string, body: Buffer] {
  const name = random.pick(NAMES);
  if (random.chance(0.05))
    return [
      `/${name}/update`,
      json({ uid: random.json(1), input: inputOf(random, name), label: random.json(0) }),
    ];
  const path = random.pick([`/${name}/predict`, `/${name}/predict/`, `/${name}/predict?x=1`]);
  const body: Record<string, unknown> = random.chance(0.6)
    ? { input: inputOf(random, name) }
    : {
        input_batch: Array.from({ length: random.int(random.chance(0.02) ? 300 : 8) }, () =>
          inputOf(random, name),
        ),
      };
  if (random.chance(0.1)) body["version"] = random.pick(["1", "2", "", 1, null]);
  if (random.chance(0.1)) body["timeout_ms"] = random.pick([1, 1000, 0, -1, "5", 1e300]);
  if (random.chance(0.1)) body[random.text()] = random.json();
  return [path, json(body)];
}

/** Right for its type, mostly. */
function inputOf(random: Random, name: string): unknown {
  if (random.chance(0.1)) return random.json();
  if (name === "strings") return random.text();
  if (name === "bytes") return random.bytes(random.int(60)).toString("base64");
  const isWhole = name === "integers";
  return Array.from({ length: random.int(random.chance(0.02) ? 5000 : 12) }, () =>
    isWhole ? random.int(2 ** 32) - 2 ** 31 : (random.next() - 0.5) * 10 ** random.int(12),
  );
}

const CALLS: readonly [string, ...string[]] = [
  "add_app",
  "delete_app",
  "add_model_links",
  "delete_model_links",
  "set_model_version",
  "delete_versioned_model",
  "get_all_applications",
  "get_application",
  "get_linked_models",
  "get_all_models",
  "get_model",
  "get_all_containers",
  "get_container",
  "get_state",
  "nonsense",
];

/** Few names, so that the registry stays small, and none of the applications that `verify` asks. */
function adminRequest(random: Random): readonly [path: string, body: Buffer] {
  const call = random.chance(0.01) ? "add_model" : random.pick(CALLS);
  const app = random.pick(["a", "b", "Not A Name", "x,y"]);
  const model = random.pick(["m", "n", "p:q"]);
  const version = random.pick(["1", "2", "3,4"]);
  const inputType = random.pick(["ints", "d", "strings", "bytes", "complex"]);
  const body: Record<string, unknown> = {
    name: app,
    app_name: app,
    input_type: inputType,
    default_output: random.text(),
    latency_slo_micros: random.pick([1000, 0, -5, 2 ** 31, 1.5]),
    model_names: random.pick([[model], [], [model, "n"], model]),
    verbose: random.chance(0.9) ? random.chance(0.5) : random.json(0),
    uid: random.int(3),
    replica_id: random.int(10),
    ...modelBody(model, version, inputType),
  };
  if (random.chance(0.2))
    Reflect.deleteProperty(body, random.pick(["name", "app_name", "model_name", "verbose"]));
  if (random.chance(0.2)) body[random.pick(["name", "input_type", "model_names", "labels"])] = random.json();
  return [`/admin/${call}`, json(body)];
}

function modelBody(name: string, version: string, inputType: string): object {
  return {
    model_name: name,
    model_version: version,
    labels: [],
    input_type: inputType,
    container_name: "NO_CONTAINER",
    model_data_path: "DEPRECATED",
    batch_size: -1,
  };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
