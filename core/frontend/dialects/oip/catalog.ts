// What the Open Inference Protocol tells of models and lets be done with them, the same by REST and by gRPC.
import { platformOf, tensorMetadata, type TensorMetadata } from "../../../../containers/metadata.ts";
import type { Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import { InvalidRequestError, NoModelLinkedError, ReplicaStartError } from "../../../errors.ts";
import type { Total } from "../../../metric-handles.ts";
import type { Metrics } from "../../../metrics.ts";
import type { Router, Target } from "../../../query/router.ts";
import type { Version } from "../../../types.ts";
import { packageVersion } from "../../../version.ts";

/** Starts and stops the replicas of models; `Deployments` does it. */
export interface Repository {
  /** Resolves when so many are ready. */
  scale(model: string, replicas: number, version?: string): Promise<void>;
}

export interface CatalogParts {
  readonly router: Router;
  readonly metrics: Metrics;
  /** Name in the server's metadata. */
  readonly serverName: string;
  readonly isReady: () => boolean;
  /** Undefined: nothing can be loaded or unloaded here. */
  readonly repository?: Repository | undefined;
}

const EXTENSIONS = [
  "binary_tensor_data",
  "classification",
  "generate",
  "model_configuration",
  "model_repository",
  "model_repository(unload_dependents)",
  "parameters",
  "schedule_policy",
  "statistics",
] as const;

export interface ServerMetadata {
  readonly name: string;
  readonly version: string;
  readonly extensions: readonly string[];
}

export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}

export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly reason: string;
}

interface Duration {
  readonly count: number;
  readonly ns: number;
}

export interface ModelStatistics {
  readonly name: string;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly last_inference: number;
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<Record<string, Duration>>;
  readonly batch_stats: readonly {
    readonly batch_size: number;
    readonly compute_input: Duration;
    readonly compute_infer: Duration;
    readonly compute_output: Duration;
  }[];
}

export class Catalog {
  readonly #parts: CatalogParts;

  constructor(parts: CatalogParts) {
    this.#parts = parts;
  }

  server(): ServerMetadata {
    return { name: this.#parts.serverName, version: packageVersion(), extensions: EXTENSIONS };
  }

  isReady(): boolean {
    return this.#parts.isReady();
  }

  /** Names of applications, and of models without an application of their name. */
  names(): readonly string[] {
    return this.#parts.router.modelNames();
  }

  /** @throws ModelNotFoundError, VersionNotFoundError, NoModelLinkedError */
  model(name: string, version?: string): ModelMetadata {
    const { manifest, version: found } = this.#find(name, version);
    const { contract } = manifest;
    return {
      name,
      versions: version === undefined ? this.#servedVersions(found) : [found.version],
      platform: platformOf(manifest),
      inputs: contract.inputs.map((spec) => tensorMetadata(spec, contract)),
      outputs: contract.outputs.map((spec) => tensorMetadata(spec, contract)),
    };
  }

  /** @throws ModelNotFoundError, VersionNotFoundError */
  isModelReady(name: string, version?: string): boolean {
    const { served } = this.#parts.router.resolveModel(name, version);
    return this.isReady() && (served?.readyCount ?? 0) > 0;
  }

  /** The configuration in Triton's form. @throws as `model` */
  config(name: string, version?: string): object {
    const { manifest, version: found } = this.#find(name, version);
    const { contract } = manifest;
    const { batching, replicas } = found.settings;
    const most = batching.policy === "none" ? 1 : batching.maxBatchSize;
    const maxBatchSize = contract.isBatched ? Math.min(most, contract.maxBatchSize ?? most) : 0;
    const delayUs = batching.policy === "fixed" ? batching.maxDelayMs * 1000 : 0;
    return {
      name,
      platform: platformOf(manifest),
      backend: "windjammer",
      version_policy: { latest: { num_versions: 1 } },
      max_batch_size: maxBatchSize,
      input: contract.inputs.map(tensorConfig),
      output: contract.outputs.map(tensorConfig),
      instance_group: [{ name, kind: "KIND_CPU", count: replicas }],
      ...(batching.policy === "none" || maxBatchSize === 0
        ? {}
        : {
            dynamic_batching: { preferred_batch_size: [maxBatchSize], max_queue_delay_microseconds: delayUs },
          }),
    };
  }

  /** Every version of every model, under each name it is reached by. */
  index(isReadyOnly: boolean): readonly IndexEntry[] {
    const { router } = this.#parts;
    return this.names()
      .flatMap((name) => {
        const model = router.resolveModel(name).version?.model;
        if (model === undefined)
          return [{ name, version: "", state: "UNAVAILABLE", reason: "no model is linked" }];
        return router
          .versions(model)
          .map((version) => Object.assign({ name, version: version.version }, router.stateOf(version)));
      })
      .filter(({ state }) => !isReadyOnly || state === "READY");
  }

  /**
   * Starts the replicas of a model's current version; resolves when they are ready.
   * @throws ModelNotFoundError, InvalidRequestError for what is to be loaded in its place, ReplicaStartError
   */
  async load(name: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const given = Object.keys(parameters).find((key) => key === "config" || key.startsWith("file:"));
    if (given !== undefined) {
      throw new InvalidRequestError(
        `failed to load '${name}', versions do not change: deploy what ${JSON.stringify(given.slice(0, 60))} holds as a version of its own, through the management API`,
      );
    }
    const { version } = this.#find(name);
    try {
      await this.#repository().scale(version.model, Math.max(1, version.settings.replicas));
    } catch (error) {
      if (!(error instanceof ReplicaStartError)) throw error;
      throw new ReplicaStartError(`failed to load '${name}', ${error.message}`, {
        cause: error,
        details: error.details,
      });
    }
  }

  /** Stops the replicas of a model's current version, when they have answered. @throws ModelNotFoundError */
  async unload(name: string): Promise<void> {
    const { version } = this.#find(name);
    await this.#repository().scale(version.model, 0);
  }

  /** Of one version, the current one by default; of every version that runs without a name. @throws as `model` */
  async statistics(name?: string, version?: string): Promise<readonly ModelStatistics[]> {
    await this.#parts.metrics.gather();
    if (name !== undefined && name !== "") return [this.#statistics(name, this.#find(name, version).version)];
    const { router } = this.#parts;
    return this.names().flatMap((each) => {
      const model = router.resolveModel(each).version?.model;
      return model === undefined
        ? []
        : router
            .versions(model)
            .filter((one) => router.stateOf(one).state === "READY")
            .map((one) => this.#statistics(each, one));
    });
  }

  #repository(): Repository {
    const { repository } = this.#parts;
    if (repository === undefined) throw new InvalidRequestError("models cannot be loaded or unloaded here");
    return repository;
  }

  #find(name: string, version?: string): Found {
    const target: Target = this.#parts.router.resolveModel(name, version);
    const { manifest, version: found } = target;
    if (manifest !== undefined && found !== undefined) return { manifest, version: found };
    throw target.error ?? new NoModelLinkedError(`application ${name} is linked to no model`);
  }

  /** Those that run, the asked one in any case. */
  #servedVersions(current: Version): readonly string[] {
    const { router } = this.#parts;
    return router
      .versions(current.model)
      .filter((version) => version.version === current.version || router.stateOf(version).state === "READY")
      .map(({ version }) => version);
  }

  #statistics(name: string, { model, version }: Version): ModelStatistics {
    const { batches, queue, success, failure, lastBatchAt, cacheHits, cacheMisses } =
      this.#parts.metrics.statistics(model, version);
    const sum = (of: (batch: (typeof batches)[number]) => number): number =>
      batches.reduce((total, batch) => total + of(batch), 0);
    const count = sum((batch) => batch.count);
    return {
      name,
      version,
      last_inference: lastBatchAt,
      inference_count: sum((batch) => batch.count * batch.size),
      execution_count: count,
      inference_stats: {
        success: nanoseconds(success),
        fail: nanoseconds(failure),
        queue: nanoseconds(queue),
        // The way to the container and back; the protocol has no place for it.
        compute_input: nanoseconds({ count, ms: sum((batch) => batch.transferMs) }),
        compute_infer: nanoseconds({ count, ms: sum((batch) => batch.computeMs) }),
        compute_output: nanoseconds({ count, ms: 0 }),
        // Looked up within microseconds, which nobody measures.
        cache_hit: nanoseconds({ count: cacheHits, ms: 0 }),
        cache_miss: nanoseconds({ count: cacheMisses, ms: 0 }),
      },
      batch_stats: batches.map(({ size, count: ofSize, transferMs, computeMs }) => ({
        batch_size: size,
        compute_input: nanoseconds({ count: ofSize, ms: transferMs }),
        compute_infer: nanoseconds({ count: ofSize, ms: computeMs }),
        compute_output: nanoseconds({ count: ofSize, ms: 0 }),
      })),
    };
  }
}

interface Found {
  readonly manifest: Manifest;
  readonly version: Version;
}

function nanoseconds({ count, ms }: Total): Duration {
  return { count, ns: Math.max(0, Math.round(ms * 1e6)) };
}

function tensorConfig({ name, datatype, shape }: TensorSpec): object {
  return { name, data_type: `TYPE_${datatype === "BYTES" ? "STRING" : datatype}`, dims: shape };
}
