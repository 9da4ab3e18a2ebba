// Who may import whom: the table that test/architecture.test.ts holds the source to.

/** A rule: files whose path starts with `from` may import their own folder, and paths that start with one of `may`. */
export interface LayerRule {
  readonly from: string;
  readonly may: readonly string[];
}

const LEAVES = [
  "core/config.ts",
  "core/environment.ts",
  "core/error-replies.ts",
  "core/errors.ts",
  "core/log.ts",
  "core/metric",
  "core/nearest.ts",
  "core/package-names.ts",
  "core/python-requirements.ts",
  "core/types.ts",
  "core/version-key.ts",
  "core/version.ts",
  "core/wait.ts",
];
/** What deployers of models that run in Node share. */
const NODE_MODELS = ["input-types", "location", "lockfile", "module-bundle", "packages"].map(
  (name) => `deployers/${name}.ts`,
);
/** What drivers of model containers share. */
const RUNTIMES = ["runtime", "life", "lines", "log-file", "replica-log", "npm-errors", "pip-errors"].map(
  (name) => `core/runtimes/${name}.ts`,
);
/** What deployers of models of tensors share. */
const TENSOR_MODELS = ["deployers/tensor-model/", "deployers/wire.ts"];
const WIRE = [
  "protocol",
  "tensors",
  "json-data",
  "typed-arrays",
  "node-http",
  "infer-message",
  "spent-memory",
  "lean-start",
].map((name) => `containers/${name}.ts`);

/** The first rule that fits a file counts. */
export const LAYERS: readonly LayerRule[] = [
  { from: "containers/protocol.ts", may: [] },
  { from: "containers/node-http.ts", may: [] },
  { from: "containers/tensors.ts", may: ["containers/protocol.ts"] },
  { from: "containers/dockerfile.ts", may: ["containers/protocol.ts"] },
  { from: "containers/", may: ["containers/"] },
  { from: "core/errors.ts", may: [] },
  { from: "core/error-replies.ts", may: ["core/errors.ts"] },
  { from: "core/types.ts", may: WIRE },
  { from: "core/metric", may: ["core/types.ts", "core/version-key.ts", "core/metric"] },
  { from: "core/registry/", may: [...LEAVES, ...WIRE] },
  { from: "core/replicas/", may: [...LEAVES, ...WIRE, "core/runtimes/runtime.ts"] },
  {
    from: "core/query/",
    may: [...LEAVES, ...WIRE, "core/replicas/", "core/registry/", "core/runtimes/runtime.ts"],
  },
  { from: "core/runtimes/runtime.ts", may: [...LEAVES, ...WIRE] },
  { from: "core/runtimes/process/", may: [...LEAVES, ...WIRE, ...RUNTIMES] },
  {
    from: "core/runtimes/docker/",
    may: [...LEAVES, ...WIRE, ...RUNTIMES, "core/runtimes/engine", "containers/dockerfile"],
  },
  { from: "core/runtimes/", may: [...LEAVES, ...WIRE, "core/runtimes/"] },
  {
    from: "core/deploy/",
    may: [...LEAVES, ...WIRE, "core/registry/", "core/replicas/", "core/query/", "core/runtimes/runtime.ts"],
  },
  {
    from: "core/frontend/",
    may: [
      ...LEAVES,
      ...WIRE,
      "core/query/",
      "core/registry/",
      "core/replicas/",
      "core/deploy/",
      "core/runtimes/runtime.ts",
      "core/client/interface.ts",
      "containers/metadata.ts",
    ],
  },
  {
    from: "core/workers/",
    may: [
      ...LEAVES,
      "containers/node-http.ts",
      "containers/lean-start.ts",
      "core/frontend/",
      "core/query/",
      "core/registry/",
      "core/replicas/",
      "core/runtimes/runtime.ts",
    ],
  },
  {
    from: "core/client/",
    may: [...LEAVES, ...WIRE, "core/deploy/", "core/frontend/schemas.ts", "core/runtimes/runtime.ts"],
  },
  { from: "core/check/", may: ["core/", ...WIRE] },
  { from: "core/conformance/", may: ["core/", ...WIRE] },
  { from: "core/cli/", may: ["core/", ...WIRE, "deployers/index.ts"] },
  { from: "core/query-front.ts", may: ["core/", ...WIRE] },
  { from: "core/windjammer.ts", may: ["core/", ...WIRE] },
  { from: "core/index.ts", may: ["core/", ...WIRE] },
  { from: "core/", may: [...LEAVES, ...WIRE] },
  {
    from: "deployers/function/",
    may: ["core/index.ts", "containers/closure-format.ts", "containers/json-schema.ts", ...NODE_MODELS],
  },
  { from: "deployers/container/", may: ["core/index.ts", ...NODE_MODELS, ...TENSOR_MODELS] },
  { from: "deployers/onnx/", may: ["core/index.ts", ...NODE_MODELS, ...TENSOR_MODELS] },
  { from: "deployers/tensorflow/", may: ["core/index.ts", ...NODE_MODELS, ...TENSOR_MODELS] },
  {
    from: "deployers/tensor-model/",
    may: ["core/index.ts", "containers/tensor-model/settings.ts", ...NODE_MODELS],
  },
  {
    from: "deployers/python/",
    may: ["core/index.ts", ...["input-types", "location", "packages"].map((name) => `deployers/${name}.ts`)],
  },
  { from: "deployers/index.ts", may: ["core/index.ts", "deployers/"] },
  { from: "deployers/", may: ["core/index.ts"] },
];

/** Packages that only these files may import. */
export const PACKAGE_OWNERS: Readonly<Record<string, readonly string[]>> = {
  zeromq: ["core/replicas/clipper-rpc/"],
  undici: ["core/replicas/http-transport.ts", "core/client/"],
  express: ["core/frontend/"],
  "node:sqlite": ["core/registry/"],
  "prom-client": ["core/metric"],
  pino: ["core/log.ts"],
  esbuild: ["deployers/"],
  acorn: ["deployers/function/closure/"],
  "magic-string": ["deployers/function/closure/"],
  "fastest-levenshtein": ["core/nearest.ts"],
  "onnxruntime-node": [],
  "tar-fs": ["core/deploy/"],
  "tar-stream": ["core/deploy/", "core/runtimes/docker/", "core/runtimes/engine-messages.ts"],
  dockerode: ["core/runtimes/engine.ts"],
  commander: ["core/cli/"],
  "@grpc/grpc-js": ["core/frontend/grpc/"],
  "@grpc/proto-loader": ["core/frontend/grpc/"],
  "@grpc/reflection": ["core/frontend/grpc/"],
  "swagger-ui-dist": ["core/frontend/openapi/"],
  yauzl: ["deployers/python/"],
  "fast-png": ["core/cli/png.ts"],
  semver: ["core/cli/doctor/"],
};
