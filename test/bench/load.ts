// Closed-loop load on 127.0.0.1: so many connections, each with one request on its way, for a bounded time.
import { Pool } from "undici";

export interface LoadOptions {
  /** Full URL of the POST. */
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** Body of the n-th request; all differ. */
  readonly body: (index: number) => string;
  /** Throws when the reply does not belong to the body. */
  readonly check: (index: number, reply: string) => void;
}

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
}

export async function load(options: LoadOptions): Promise<LoadResult> {
  const { origin, pathname } = new URL(options.url);
  const pool = new Pool(origin, { connections: options.connections, pipelining: 1 });
  const latencies: number[] = [];
  const startedAt = performance.now();
  const until = startedAt + options.seconds * 1000;
  let next = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() < until) {
      const index = next++;
      const askedAt = performance.now();
      const reply = await pool.request({ method: "POST", path: pathname, body: options.body(index) });
      const text = await reply.body.text();
      latencies.push(performance.now() - askedAt);
      if (reply.statusCode !== 200) throw new Error(`status ${reply.statusCode}: ${text.slice(0, 500)}`);
      options.check(index, text);
    }
  };
  await Promise.all(Array.from({ length: options.connections }, caller));
  const seconds = (performance.now() - startedAt) / 1000;
  await pool.close();
  latencies.sort((one, other) => one - other);
  return {
    requests: latencies.length,
    perSecond: latencies.length / seconds,
    p50Ms: latencies[latencies.length >> 1] ?? 0,
  };
}
