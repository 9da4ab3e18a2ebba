// The doctor's look at what parts of Windjammer want: a container engine, Python, and optional npm packages.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import semver from "semver";
import { isNodeError, toWindjammerError } from "../../errors.ts";
import type { Finding, Part } from "./finding.ts";

const TIMEOUT_MS = 10_000;

export async function checkDocker(): Promise<Finding> {
  const name = "Docker";
  const part = "docker";
  try {
    const { Engine } = await import("../../runtimes/engine.ts");
    const engine = await Engine.connect(undefined);
    const { version, cpus } = await engine.info();
    return { name, part, outcome: "ok", found: `${version} at ${engine.address.shown}, ${cpus} CPUs` };
  } catch (error) {
    return { name, part, outcome: "missing", found: toWindjammerError(error).message, fix: dockerFix(error) };
  }
}

function dockerFix(error: unknown): string {
  if (process.platform !== "linux") return "brew install --cask docker && open -a Docker";
  const code = codesOf(error);
  if (code.has("EACCES")) return "sudo usermod -aG docker $USER && newgrp docker";
  return code.has("ECONNREFUSED")
    ? "sudo systemctl start docker"
    : "sudo apt-get install -y docker.io && sudo systemctl start docker";
}

/** Of an error and what caused it. */
function codesOf(error: unknown): ReadonlySet<string> {
  const codes = new Set<string>();
  for (let each = error; each instanceof Error; each = each.cause)
    if (isNodeError(each) && each.code !== undefined) codes.add(each.code);
  return codes;
}

export async function checkPython(): Promise<Finding> {
  const name = "Python";
  const part = "python";
  const packages = "python3 python3-venv python3-pip";
  const fix = process.platform === "linux" ? `sudo apt-get install -y ${packages}` : "brew install python";
  try {
    const { findInterpreter, hasVenv } = await import("../../runtimes/process/python.ts");
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const { executable, version } = await findInterpreter("python3", signal);
    const found = `${version} at ${executable}`;
    if (await hasVenv(executable, signal)) return { name, part, outcome: "ok", found };
    return { name, part, outcome: "missing", found: `${found}, without the module venv`, fix };
  } catch (error) {
    return { name, part, outcome: "missing", found: toWindjammerError(error).message, fix };
  }
}

/** What each package is for. */
const PACKAGES: readonly (readonly [part: Part, names: readonly string[]])[] = [
  ["onnx", ["onnxruntime-node"]],
  ["tensorflow", ["@tensorflow/tfjs-node"]],
  [
    "tfjs",
    [
      "@tensorflow/tfjs-core",
      "@tensorflow/tfjs-layers",
      "@tensorflow/tfjs-converter",
      "@tensorflow/tfjs-backend-wasm",
    ],
  ],
  ["grpc", ["@grpc/grpc-js", "@grpc/proto-loader"]],
  ["clipper", ["zeromq"]],
  ["docs", ["swagger-ui-dist"]],
];

/** Optional packages, looked for as a program in `folder` would find them. */
export async function checkPackages(folder: string): Promise<readonly Finding[]> {
  const own = createRequire(import.meta.url).resolve("windjammer/package.json");
  const { peerDependencies } = JSON.parse(await readFile(own, "utf8")) as {
    readonly peerDependencies: Readonly<Record<string, string>>;
  };
  const places = [folder, dirname(own)];
  return Promise.all(
    PACKAGES.map(async ([part, names]): Promise<Finding> => {
      const installed = await Promise.all(names.map((name) => installedVersion(name, places)));
      const missing = names.filter(
        (name, at) =>
          !semver.satisfies(installed[at] ?? "", peerDependencies[name] ?? "", { includePrerelease: true }),
      );
      const isNone = installed.every((version) => version === undefined);
      const shown = isNone
        ? "not installed"
        : names.map((name, at) => `${name} ${installed[at] ?? "not installed"}`).join(", ");
      const name = names.length === 1 ? (names[0] ?? part) : part;
      if (missing.length === 0) return { name, part, outcome: "ok", found: shown };
      const wanted = missing.map((each) => `"${each}@${peerDependencies[each] ?? "latest"}"`);
      return { name, part, outcome: "missing", found: shown, fix: `npm install ${wanted.join(" ")}` };
    }),
  );
}

async function installedVersion(name: string, places: readonly string[]): Promise<string | undefined> {
  for (const place of places) {
    for (let folder = place; ; folder = dirname(folder)) {
      const version = await versionIn(join(folder, "node_modules", name, "package.json"));
      if (version !== undefined) return version;
      if (dirname(folder) === folder) break;
    }
  }
  return undefined;
}

async function versionIn(file: string): Promise<string | undefined> {
  try {
    return (JSON.parse(await readFile(file, "utf8")) as { readonly version?: string }).version;
  } catch {
    return undefined;
  }
}
