// Dockerfile of a Python model's container, from what is to be in its image. Pure text; whoever builds it makes the context.
import { aptInstall, assignments, CONTEXT, IMAGE_PATHS, STAGE_LABEL } from "./dockerfile.ts";
import { ENV } from "./protocol.ts";

/** What goes into the image of a Python model. */
export interface PythonImageSpec {
  readonly baseImage: string;
  /** Debian packages that the model needs to run, by name. */
  readonly aptPackages: readonly string[];
  /** Debian packages that only installing the Python packages needs, such as compilers. Not in the image. */
  readonly buildAptPackages: readonly string[];
  /** There is a requirements.txt. */
  readonly hasRequirements: boolean;
  /** The bundle brings wheels. */
  readonly hasWheels: boolean;
  /** Packages that may be built from source, by name. */
  readonly fromSource: readonly string[];
  /** Names what the packages are installed from: label of the stage that installs them. */
  readonly packagesKey: string;
  readonly hasWeights: boolean;
  /** Arguments that may be given to the build, beside those of pip's index. */
  readonly buildArguments: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Folder of wheels in the build context, beside `requirements.txt`. */
export const WHEELS = "wheels";

/** The environment that packages are installed in; the model runs in it. */
const ENVIRONMENT = `${IMAGE_PATHS.root}/environment`;
const WHEELS_IN_STAGE = "/tmp/wheels";

/** Where packages come from on machines that reach the internet through a mirror. */
const BUILD_ARGUMENTS: readonly string[] = ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"];

/** Asks the server for its readiness, whichever way it listens. */
const HEALTH_PROBE = `import http.client, os, socket, sys
path = os.environ.get("${ENV.socket}")
caller = http.client.HTTPConnection("localhost", int(os.environ.get("${ENV.port}") or 8080), timeout=2)
if path:
    caller.sock = socket.socket(socket.AF_UNIX)
    caller.sock.settimeout(2)
    caller.sock.connect(path)
caller.request("GET", "/v2/health/ready")
sys.exit(caller.getresponse().status != 200)`;

/**
 * Layers in the order of how seldom they change: system packages, Python packages, server, the model's code, its weights.
 * Packages are installed in a stage of their own, so that compilers and caches stay out of the image.
 */
export function pythonDockerfile(spec: PythonImageSpec): string {
  const python = spec.hasRequirements ? `${ENVIRONMENT}/bin/python` : "python3";
  const lines = [
    ...(spec.hasRequirements ? packagesStage(spec) : []),
    `FROM ${spec.baseImage}`,
    ...aptInstall(spec.aptPackages),
    ...assignments("ENV", { [ENV.modelDir]: IMAGE_PATHS.model }),
    `WORKDIR ${IMAGE_PATHS.root}`,
    ...(spec.hasRequirements ? [`COPY --from=packages ${ENVIRONMENT} ${ENVIRONMENT}`] : []),
    `COPY ${CONTEXT.server}/ ${IMAGE_PATHS.server}/`,
    `COPY ${CONTEXT.code}/ ${IMAGE_PATHS.model}/`,
    ...(spec.hasWeights ? [`COPY ${CONTEXT.weights}/ ${IMAGE_PATHS.model}/`] : []),
    "USER 1000:1000",
    `HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ${JSON.stringify([python, "-I", "-c", HEALTH_PROBE])}`,
    `ENTRYPOINT ${JSON.stringify([python, "-I", "-B", `${IMAGE_PATHS.server}/server.py`])}`,
    ...assignments("LABEL", spec.labels),
  ];
  return `${lines.join("\n")}\n`;
}

function packagesStage(spec: PythonImageSpec): string[] {
  const flags = "--no-cache-dir --no-input --disable-pip-version-check --no-color --progress-bar off";
  const sources = spec.fromSource.map((name) => ` --no-binary ${name}`).join("");
  const wheels = spec.hasWheels ? ` --find-links ${WHEELS_IN_STAGE}` : "";
  const install = [
    `python3 -m venv --without-pip ${ENVIRONMENT}`,
    `python3 -m pip --python ${ENVIRONMENT}/bin/python install ${flags} --only-binary :all:${sources}${wheels} --requirement requirements.txt`,
  ];
  return [
    `FROM ${spec.baseImage} AS packages`,
    ...assignments("LABEL", { [STAGE_LABEL]: spec.packagesKey }),
    ...aptInstall([...spec.aptPackages, ...spec.buildAptPackages]),
    ...Array.from(new Set([...BUILD_ARGUMENTS, ...spec.buildArguments]), (name) => `ARG ${name}`),
    `WORKDIR ${IMAGE_PATHS.root}`,
    "COPY requirements.txt ./",
    ...(spec.hasWheels ? [`COPY ${WHEELS}/ ${WHEELS_IN_STAGE}/`] : []),
    `RUN ${install.join(" \\\n && ")}`,
    "",
  ];
}
