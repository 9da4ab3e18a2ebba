// The server that the fuzz of every dialect but Clipper's asks: functions of several input types, and what it may answer.
import { connect, deployFunction, type Windjammer } from "windjammer";
import { type RunningServer, startServer, type StartOptions } from "../../core/windjammer.ts";
import type { Random } from "./random.ts";
import type { FuzzCase, FuzzReply } from "./runner.ts";

export type Kind = "doubles" | "integers" | "strings" | "bytes" | "json";
export const KINDS: readonly [Kind, ...Kind[]] = ["doubles", "integers", "strings", "bytes", "json"];

/** What may come back; 408 only of requests that never end, 100 only of those that asked and left. */
const STATUSES: ReadonlySet<number> = new Set([
  100, 200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501, 505,
]);
/** 500: the model threw on what it got; 503 and 504: overload. Their texts are the model's or the queue's. */
const SERVER_ERRORS = /^\{"error":"(?:model |the |failed )/;

export interface Models {
  readonly server: RunningServer;
  readonly client: Windjammer;
}

/** One model an input type, called as that. @param applications of which of them there are; default: all */
export async function serveModels(
  options: StartOptions,
  applications: readonly Kind[] = KINDS,
): Promise<Models> {
  const server = await startServer({
    port: 0,
    adminPort: 0,
    maxBodyBytes: 2 ** 20,
    maxInputs: 200,
    requestTimeoutMs: 2000,
    ...options,
  });
  const client = await connect(server.adminUrl);
  await Promise.all(
    KINDS.map((name) =>
      deployFunction(client, {
        name,
        version: "1",
        inputType: name,
        ...(applications.includes(name) ? {} : { application: null }),
        fn: (inputs: readonly unknown[]) => inputs.map((input) => (Array.isArray(input) ? input.length : 1)),
      }),
    ),
  );
  return { server, client };
}

export async function closeModels({ server, client }: Models): Promise<void> {
  await client.close();
  await server.close();
}

/** What is wrong with a reply: its status, or an error that is not in JSON with a text. */
export function checkReply(fuzzed: FuzzCase, { status, headers, body }: FuzzReply): string | undefined {
  if (status === undefined) return fuzzed.kind === "raw" ? undefined : "no reply";
  const text = body.toString("latin1");
  if (!STATUSES.has(status) && !([500, 503, 504].includes(status) && SERVER_ERRORS.test(text)))
    return `status ${status}: ${text.slice(0, 300)}`;
  if (fuzzed.kind === "raw" || status === 200 || body.length === 0) return undefined;
  const error = (JSON.parse(text) as { error?: unknown }).error;
  const isOurs = headers["content-type"]?.includes("application/json") === true;
  return isOurs && typeof error === "string" ? undefined : `an error in another form: ${text.slice(0, 300)}`;
}

/** Asks for something whose answer is known. @throws Error for another one */
export async function expectAnswer(url: string, body: string, answer: string): Promise<void> {
  const reply = await fetch(url, { method: "POST", body });
  const text = await reply.text();
  if (reply.status !== 200 || !text.includes(answer)) throw new Error(`${url}: ${reply.status} ${text}`);
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** A name that there is no model of, now and then. */
export function modelName(random: Random, kind: Kind): string {
  return random.chance(0.95) ? kind : random.pick(["nobody", "%00", "a/b"]);
}
