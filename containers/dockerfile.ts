// Dockerfile of a model container, from what is to be in its image. Pure text; whoever builds it makes the context.
import { ENV } from "./protocol.ts";

/** What goes into an image. */
export interface ImageSpec {
  readonly baseImage: string;
  /** Debian packages that the model needs to run, by name. */
  readonly aptPackages: readonly string[];
  /** Debian packages that only installing the npm packages needs, such as compilers. Not in the image. */
  readonly buildAptPackages: readonly string[];
  /** npm packages by exact version. */
  readonly packages: Readonly<Record<string, string>>;
  /** Names what the npm packages are installed from: label of the stage that installs them. */
  readonly packagesKey: string;
  /** npm packages whose install scripts run. */
  readonly scripts: readonly string[];
  readonly hasLockfile: boolean;
  readonly hasNpmrc: boolean;
  readonly hasWeights: boolean;
  /** Program below `server/`. */
  readonly entry: string;
  /** Arguments that may be given to the build, beside `BUILD_ARGUMENTS`. */
  readonly buildArguments: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Folders of the build context, beside `package.json`, `package-lock.json` and `.npmrc`. */
export const CONTEXT = { server: "server", code: "code", weights: "weights" } as const;

/** Where things are in the image. Packages are found from the model's folder. */
export const IMAGE_PATHS = { root: "/app", server: "/app/server", model: "/app/model" } as const;

/** Label of images that only a build needed, with what they were made for. */
export const STAGE_LABEL = "windjammer.stage";

/** Where npm finds an .npmrc while it installs: mounted, so that no layer holds it. */
const NPMRC = "/run/npmrc";

/** Where the prebuilt parts of packages come from on machines that reach the internet through a mirror. */
const BUILD_ARGUMENTS: readonly string[] = [
  "TFJS_NODE_CDN_STORAGE",
  "npm_config_tfjs_binding_binary_host_mirror",
  "npm_config_registry",
];

/** Fetching nothing that is not needed, and telling nobody. */
const QUIET: Readonly<Record<string, string>> = {
  ORT_DISABLE_TELEMETRY: "1",
  ONNXRUNTIME_NODE_INSTALL: "skip",
  TF_CPP_MIN_LOG_LEVEL: "3",
};

/** Asks the server for its readiness, whichever way it listens. */
const HEALTH_PROBE = `const { ${ENV.socket}: socketPath, ${ENV.port}: port = 8080 } = process.env; require("node:http").get({ ...(socketPath ? { socketPath } : { port }), path: "/v2/health/ready", timeout: 2000 }, (reply) => process.exit(reply.statusCode === 200 ? 0 : 1)).on("error", () => process.exit(1));`;

/**
 * Layers in the order of how seldom they change: system packages, npm packages, server, the model's code, its weights.
 * npm packages are installed in a stage of their own, so that compilers and caches stay out of the image. An .npmrc
 * is in no layer at all: it is mounted for the installation, which takes BuildKit.
 */
export function dockerfile(spec: ImageSpec): string {
  const hasPackages = Object.keys(spec.packages).length > 0;
  const lines = [
    ...(hasPackages ? packagesStage(spec) : []),
    `FROM ${spec.baseImage}`,
    ...aptInstall(spec.aptPackages),
    ...assignments("ENV", { NODE_ENV: "production", ...QUIET, [ENV.modelDir]: IMAGE_PATHS.model }),
    `WORKDIR ${IMAGE_PATHS.root}`,
    ...(hasPackages
      ? [
          `COPY --from=packages ${IMAGE_PATHS.root}/node_modules ./node_modules`,
          `COPY --from=packages ${IMAGE_PATHS.root}/package-lock.json ./`,
        ]
      : []),
    `COPY ${CONTEXT.server}/ ${IMAGE_PATHS.server}/`,
    `COPY ${CONTEXT.code}/ ${IMAGE_PATHS.model}/`,
    ...(spec.hasWeights ? [`COPY ${CONTEXT.weights}/ ${IMAGE_PATHS.model}/`] : []),
    "USER 1000:1000",
    `HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ${JSON.stringify(["node", "-e", HEALTH_PROBE])}`,
    `ENTRYPOINT ${JSON.stringify(["node", `${IMAGE_PATHS.server}/${spec.entry}`])}`,
    ...assignments("LABEL", spec.labels),
  ];
  return `${lines.join("\n")}\n`;
}

/** `package.json` of the context: exact versions, and which of them may run scripts, for every version of npm. */
export function packageJson(spec: Pick<ImageSpec, "packages" | "scripts">): string {
  const allowScripts = Object.fromEntries(
    Object.keys(spec.packages).map((name) => [name, spec.scripts.includes(name)]),
  );
  return `${JSON.stringify({ private: true, dependencies: spec.packages, allowScripts }, undefined, 2)}\n`;
}

function packagesStage(spec: ImageSpec): string[] {
  const flags = "--omit=dev --no-audit --no-fund --no-progress --no-update-notifier --ignore-scripts";
  const files = ["package.json", ...(spec.hasLockfile ? ["package-lock.json"] : [])];
  const userconfig = spec.hasNpmrc ? ` npm_config_userconfig=${NPMRC}` : "";
  const mount = spec.hasNpmrc ? `--mount=type=bind,source=.npmrc,target=${NPMRC} ` : "";
  const install = [
    `export npm_config_cache=/tmp/npm npm_config_fetch_retry_mintimeout=500 npm_config_fetch_retry_maxtimeout=3000${userconfig}`,
    `npm ${spec.hasLockfile ? "ci" : "install --save-exact"} ${flags}`,
    ...(spec.scripts.length > 0
      ? [`npm rebuild --ignore-scripts=false --foreground-scripts -- ${spec.scripts.join(" ")}`]
      : []),
    ...slimming(spec.packages),
    "rm -rf /tmp/npm /tmp/node-compile-cache node_modules/.cache",
  ];
  const known = new Set([...BUILD_ARGUMENTS, ...spec.buildArguments]);
  return [
    `FROM ${spec.baseImage} AS packages`,
    ...assignments("LABEL", { [STAGE_LABEL]: spec.packagesKey }),
    ...aptInstall([...spec.aptPackages, ...spec.buildAptPackages]),
    ...assignments("ENV", QUIET),
    ...Array.from(known, (name) => `ARG ${name}`),
    `WORKDIR ${IMAGE_PATHS.root}`,
    `COPY ${files.join(" ")} ./`,
    `RUN ${mount}${install.join(" \\\n && ")}`,
    "",
  ];
}

/** What a TensorFlow.js package has beside the build that Node runs: two thirds of its size. */
const TFJS_SURPLUS: readonly string[] = [
  "*.map",
  "*.d.ts",
  "*.min.js",
  "*.es2017.js",
  "*.fesm.js",
  "*_test.js",
];

/** Takes away what packages bring and a container cannot use. */
function slimming(packages: ImageSpec["packages"]): string[] {
  const names = TFJS_SURPLUS.map((name) => `-name "${name}"`).join(" -o ");
  return [
    // The libraries of every platform: 100 MB.
    ...(packages["onnxruntime-node"] === undefined
      ? []
      : [
          `find node_modules/onnxruntime-node/bin -mindepth 3 -maxdepth 3 ! -path "*/linux/$(node -p process.arch)" -exec rm -rf {} +`,
        ]),
    ...(Object.keys(packages).some((name) => name.startsWith("@tensorflow/tfjs"))
      ? [`find node_modules/@tensorflow -type f \\( ${names} \\) -exec rm -f {} +`]
      : []),
  ];
}

export function aptInstall(packages: readonly string[]): string[] {
  if (packages.length === 0) return [];
  return [
    `RUN apt-get update && apt-get install -y --no-install-recommends ${[...new Set(packages)].toSorted().join(" ")} && rm -rf /var/lib/apt/lists/*`,
  ];
}

/** One instruction, since each is a step of its own to the classic builder. */
export function assignments(
  instruction: "ENV" | "LABEL",
  values: Readonly<Record<string, string>>,
): string[] {
  const words = Object.entries(values).map(([name, value]) => `${name}=${quoted(value)}`);
  return words.length === 0 ? [] : [`${instruction} ${words.join(" ")}`];
}

/** One word of a Dockerfile, in which no variable is replaced. @param value without line breaks */
function quoted(value: string): string {
  return `"${value.replaceAll(/["\\$]/g, String.raw`\$&`)}"`;
}
