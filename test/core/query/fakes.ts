// Stand-ins for the parts beside the ingress: a registry of fixed records and versions that answer as they are told.
import { encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import type { InputType, Manifest, TensorSpec } from "../../../containers/protocol.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import { Metrics } from "../../../core/metrics.ts";
import { Predictor } from "../../../core/query/predict.ts";
import { BatchOutputs, type Query } from "../../../core/query/query.ts";
import { Router, type RoutingTable, type Served } from "../../../core/query/router.ts";
import type { Application, Version } from "../../../core/types.ts";

export function valueManifest(inputType: Exclude<InputType, "tensor">): Manifest {
  return manifest({ deployer: "fake", loader: "fake", inputType });
}

export function tensorManifest(inputs: readonly TensorSpec[], outputs?: readonly TensorSpec[]): Manifest {
  return manifest({
    deployer: "fake",
    loader: "fake",
    inputType: "tensor",
    contract: {
      inputs,
      outputs: outputs ?? [{ name: "output", datatype: "BYTES", shape: [], contentType: "json" }],
      isBatched: true,
    },
  });
}

export function version(manifestOf: Manifest, name = "1", model = "digits"): Version {
  return {
    model,
    version: name,
    bundle: "0".repeat(64),
    manifest: manifestOf,
    settings: {
      replicas: 1,
      limits: { cpus: 1 },
      batching: { policy: "none" },
      readyTimeoutMs: 1000,
      batchTimeoutMs: 1000,
      isRetryable: true,
      examples: [],
      tolerance: 1e-4,
    },
    desiredReplicas: 1,
    createdAt: "2026-01-01T00:00:00.000Z",
  };
}

/** Outputs of JSON content, one text a row. */
export function jsonOutputs(texts: readonly string[]): BatchOutputs {
  const data = encodeBytes(texts.map((text) => Buffer.from(text)));
  const tensor: Tensor = {
    name: "output",
    datatype: "BYTES",
    shape: [texts.length],
    data,
    contentType: "json",
  };
  return new BatchOutputs([tensor], texts.length);
}

/** Settles each query at once with what `answer` makes of it; `hold` keeps them instead. */
export class FakeServed implements Served {
  readonly version: Version;
  readyCount = 1;
  readonly received: Query[] = [];
  trouble: string | undefined;
  answer: (query: Query) => void;

  constructor(served: Version, answer?: (query: Query) => void) {
    this.version = served;
    this.answer = answer ?? ((query) => query.settle({ kind: "ok", outputs: jsonOutputs(["7"]), index: 0 }));
  }

  enqueue(query: Query): void {
    this.received.push(query);
    this.answer(query);
  }

  noteError(): void {}

  lastTrouble(): string | undefined {
    return this.trouble;
  }
}

/** One application "digits" linked to a model of that name, with its parts. */
export interface Fakes {
  readonly metrics: Metrics;
  readonly router: Router;
  readonly predictor: Predictor;
  readonly served: FakeServed;
  readonly versions: Version[];
  readonly running: Map<string, Served>;
  application: Application;
  isLinked: boolean;
  current: string;
  changed: () => void;
}

export function fakes(
  of: Manifest,
  options: Partial<Application> = {},
  answer?: (query: Query) => void,
): Fakes {
  const metrics = new Metrics();
  const versions = [version(of)];
  const served = new FakeServed(versions[0] as Version, answer);
  const running = new Map<string, Served>([["digits/1", served]]);
  const listeners = new Set<() => void>();
  const state = {
    metrics,
    served,
    versions,
    running,
    application: { name: "digits", inputType: of.inputType, ...options } as Application,
    isLinked: true,
    current: "1",
    changed: () => {
      for (const listener of listeners) listener();
    },
  };
  const registry: RoutingTable = {
    applications: () => [state.application],
    linkOf: (application) => (state.isLinked ? { application, model: "digits", weight: 1 } : undefined),
    findModel: (name) => (name === "digits" ? { name, currentVersion: state.current } : undefined),
    findVersion: (_model, name) => versions.find((one) => one.version === name),
    models: () => [{ name: "digits", currentVersion: state.current }],
    versions: () => versions,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const serving = { find: (model: string, name: string) => running.get(`${model}/${name}`) };
  const router = new Router({ registry, serving, metrics });
  return Object.assign(state, { router, predictor: new Predictor({ router }) });
}
