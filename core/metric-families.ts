// Which metrics a server counts, by name.
import { Counters, Distributions } from "./metric-series.ts";

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] as const;
const RATIOS = [0.25, 0.5, 0.75, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2, 4] as const;

/** Every metric that this server counts. */
export interface Families {
  readonly queries: Counters;
  readonly queryDuration: Distributions;
  readonly objective: Counters;
  readonly cache: Counters;
  readonly queueWait: Distributions;
  readonly batchSize: Distributions;
  readonly batchDuration: Distributions;
  readonly compute: Distributions;
  readonly prediction: Distributions;
  readonly dropped: Counters;
  readonly refused: Counters;
  readonly replicaExits: Counters;
  readonly replicaEjections: Counters;
  readonly workerEnds: Counters;
}

const counter = (name: string, help: string): Counters => new Counters({ name, help });
const histogram = (name: string, help: string, bounds: readonly number[] = SECONDS): Distributions =>
  new Distributions({ name, help, bounds });

export function families(): Families {
  return {
    queries: counter(
      "windjammer_queries_total",
      "Queries answered, by version, kind of outcome and its reason.",
    ),
    queryDuration: histogram("windjammer_query_duration_seconds", "Arrival of a query to its answer."),
    objective: counter(
      "windjammer_objective_total",
      "Queries with a latency objective: met (answered in time), late (answered after it), or missed (no prediction).",
    ),
    cache: counter("windjammer_cache_total", "Queries looked up in the prediction cache."),
    queueWait: histogram("windjammer_queue_wait_seconds", "Time a query waited for a replica."),
    batchSize: histogram("windjammer_batch_size", "Queries in a batch.", SIZES),
    batchDuration: histogram("windjammer_batch_duration_seconds", "Dispatch of a batch to its result."),
    compute: histogram("windjammer_compute_seconds", "The loader's own time for a batch."),
    prediction: histogram(
      "windjammer_batch_prediction_ratio",
      "Time a batch took, as a multiple of what the batching policy predicted for its size.",
      RATIOS,
    ),
    dropped: counter("windjammer_dropped_total", "Queries given up without a prediction."),
    refused: counter("windjammer_refused_total", "Requests refused as a whole, by dialect and reason."),
    replicaExits: counter("windjammer_replica_exits_total", "Replicas that ended, by reason."),
    replicaEjections: counter(
      "windjammer_replica_ejections_total",
      "Times that a replica which fails every batch was left out for a while.",
    ),
    workerEnds: counter(
      "windjammer_worker_ends_total",
      "Workers that ended by themselves and were replaced.",
    ),
  };
}
