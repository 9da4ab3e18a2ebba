// Connections that are kept, each to the worker that it was dealt to.
import { Agent, request as ask } from "node:http";
import { onTestFinished } from "vitest";

export interface Answer {
  readonly status: number;
  readonly body: { readonly [key: string]: unknown };
  readonly text: string;
}

/** One connection: all of its requests go to the same worker. */
export interface Connection {
  /** Rejects when the connection breaks. */
  request(method: string, path: string, body?: string): Promise<Answer>;
  predict(application: string, input: unknown): Promise<Answer>;
}

export function connection(url: string): Connection {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const request: Connection["request"] = (method, path, body) =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
      const outgoing = ask(url + path, { agent, method, headers }, (reply) => {
        let text = "";
        reply.on("data", (chunk: Buffer) => (text += chunk.toString()));
        reply.on("error", reject);
        reply.on("end", () => {
          const isJson = reply.headers["content-type"]?.startsWith("application/json") === true;
          resolve({ status: reply.statusCode ?? 0, body: isJson ? JSON.parse(text) : {}, text });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  return {
    request,
    predict: (application, input) => request("POST", `/${application}/predict`, JSON.stringify({ input })),
  };
}

/** Which worker gave an answer: each gives its queries ids of its own. */
export function workerOf({ body }: Answer): number {
  return Math.floor((Number(body["query_id"]) - 1) / 2 ** 32);
}
