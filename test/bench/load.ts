// The two ways of load: closed loop (so many callers, each with one request on its way) and open loop (requests at
// given times, whatever the server does). Every reply is held against its query.
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { type Caller, Connection, type RawReply } from "./connection.ts";

/** What is asked, and how a reply is told from a wrong one. */
export interface Workload {
  readonly url: string;
  /** Ready-made requests; query n sends number n modulo their count. */
  readonly requests: readonly Buffer[];
  /** Whether this is the right prediction for that request. */
  readonly isRight: (index: number, body: string) => boolean;
  /** Connects one caller. Default: over HTTP/1.1. */
  readonly open?: () => Caller;
}

interface Latencies {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface ClosedResult extends Latencies {
  readonly requests: number;
  readonly perSecond: number;
}

/** @throws Error at the first reply that is not the prediction of its query */
export async function closedLoop(
  workload: Workload,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<ClosedResult> {
  const histogram = createHistogram();
  const startedAt = performance.now();
  const until = startedAt + seconds * 1000;
  let next = 0;
  const caller = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const connection = opened(workload);
      const ask = (): void => {
        const index = next++ % workload.requests.length;
        const askedAt = performance.now();
        connection.send(workload.requests[index] as Buffer, (reply, error) => {
          const now = performance.now();
          record(histogram, now - askedAt);
          const wrong = error ?? wrongness(workload, index, reply as RawReply);
          if (wrong === undefined && now < until) return ask();
          connection.close();
          if (wrong === undefined) resolve();
          else reject(wrong);
        });
      };
      ask();
    });
  await Promise.all(Array.from({ length: connections }, caller));
  const elapsedS = (performance.now() - startedAt) / 1000;
  return { requests: histogram.count, perSecond: histogram.count / elapsedS, ...latencies(histogram) };
}

function opened({ url, open }: Workload): Caller {
  return open === undefined ? new Connection(url) : open();
}

function wrongness(workload: Workload, index: number, { status, body }: RawReply): Error | undefined {
  if (status === 200 && workload.isRight(index, body)) return undefined;
  return new Error(
    `wrong reply to request ${index} of ${workload.url}: status ${status}, ${body.slice(0, 300)}`,
  );
}

export interface OpenResult extends Latencies {
  readonly total: number;
  /** Right predictions within the objective, counted from the time the request was due. */
  readonly inTime: number;
  /** Right predictions after it. */
  readonly late: number;
  /** Default outputs and errors of status 503 and 504: given up in the open. */
  readonly givenUp: number;
  /** Of these, too. */
  readonly replyP99Ms: number;
}

export interface OpenOptions {
  /** When each request is due, ms from the start, ascending. */
  readonly arrivals: Float64Array;
  /** Of all queries, or of each. */
  readonly objectiveMs: number | ((index: number) => number);
}

/** More than this many at once means that the server has stopped. */
const MAX_CONNECTIONS = 4096;

/**
 * Sends each request when it is due, on a connection of its own if all others are busy; latency counts from then, not
 * from when it could be sent, so that a slow server cannot hide its queue (coordinated omission).
 * @throws Error at the first reply that is neither the prediction of its query nor a refusal
 */
export async function openLoop(workload: Workload, options: OpenOptions): Promise<OpenResult> {
  return new OpenLoop(workload, options).run();
}

class OpenLoop {
  readonly #workload: Workload;
  readonly #options: OpenOptions;
  readonly #histogram = createHistogram();
  readonly #replies = createHistogram();
  readonly #free: Caller[] = [];
  readonly #all: Caller[] = [];
  readonly #over: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #counts = { inTime: 0, late: 0, givenUp: 0 };
  #startedAt = 0;
  #next = 0;
  #answered = 0;

  constructor(workload: Workload, options: OpenOptions) {
    this.#workload = workload;
    this.#options = options;
  }

  async run(): Promise<OpenResult> {
    this.#startedAt = performance.now();
    this.#tick();
    try {
      await this.#over.promise;
    } finally {
      for (const connection of this.#all) connection.close();
    }
    const replyP99Ms = latencies(this.#replies).p99Ms;
    return {
      total: this.#options.arrivals.length,
      ...this.#counts,
      ...latencies(this.#histogram),
      replyP99Ms,
    };
  }

  #tick(): void {
    const { arrivals } = this.#options;
    const now = performance.now() - this.#startedAt;
    while (this.#next < arrivals.length && (arrivals[this.#next] as number) <= now) this.#send(this.#next++);
    const due = arrivals[this.#next];
    if (due !== undefined) setTimeout(() => this.#tick(), due - now);
  }

  #send(at: number): void {
    const { requests, url } = this.#workload;
    const index = at % requests.length;
    let connection = this.#free.pop();
    if (connection === undefined) {
      if (this.#all.length === MAX_CONNECTIONS) return this.#over.reject(new Error(`${url} answers no more`));
      connection = opened(this.#workload);
      this.#all.push(connection);
    }
    const used = connection;
    used.send(requests[index] as Buffer, (reply, error) => {
      const latencyMs = performance.now() - this.#startedAt - (this.#options.arrivals[at] as number);
      const wrong = reply === undefined ? error : this.#count(at, reply, latencyMs);
      if (wrong !== undefined) return this.#over.reject(wrong);
      this.#free.push(used);
      this.#answered += 1;
      if (this.#answered === this.#options.arrivals.length) this.#over.resolve();
    });
  }

  #count(at: number, reply: RawReply, latencyMs: number): Error | undefined {
    record(this.#replies, latencyMs);
    if (reply.status === 503 || reply.status === 504 || reply.body.includes('"default":true')) {
      this.#counts.givenUp += 1;
      return undefined;
    }
    const wrong = wrongness(this.#workload, at % this.#workload.requests.length, reply);
    if (wrong !== undefined) return wrong;
    record(this.#histogram, latencyMs);
    const { objectiveMs } = this.#options;
    if (latencyMs <= (typeof objectiveMs === "number" ? objectiveMs : objectiveMs(at)))
      this.#counts.inTime += 1;
    else this.#counts.late += 1;
    return undefined;
  }
}

/** Node's histogram is an HdrHistogram; it counts whole numbers: microseconds. */
function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1000)));
}

function latencies(histogram: RecordableHistogram): Latencies {
  return { p50Ms: histogram.percentile(50) / 1000, p99Ms: histogram.percentile(99) / 1000 };
}
