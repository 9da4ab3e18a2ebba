// Which packages run a TensorFlow model, by its format and backend, and in which version.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { InvalidOptionsError } from "../../core/index.ts";
import { installedVersion } from "../packages.ts";

/** How a model is saved. */
export type TensorFlowFormat = "saved-model" | "graph-model" | "layers-model";

/**
 * What computes: "tensorflow", the native library with @tensorflow/tfjs-node, which alone runs SavedModels; "wasm",
 * TensorFlow.js without native code; "cpu", the same in plain JavaScript, which is slow and knows more operations.
 */
export type TensorFlowBackend = "tensorflow" | "wasm" | "cpu";

const DEFAULT_VERSION = "4.22.0";
const NATIVE = "@tensorflow/tfjs-node";
const CORE = "@tensorflow/tfjs-core";

/** @throws InvalidOptionsError for a SavedModel on another backend than "tensorflow" */
export async function chooseBackend(
  format: TensorFlowFormat,
  wanted: TensorFlowBackend | undefined,
): Promise<TensorFlowBackend> {
  if (format === "saved-model") {
    if (wanted === undefined || wanted === "tensorflow") return "tensorflow";
    throw new InvalidOptionsError(
      `backend: a SavedModel runs on "tensorflow" only, not on "${wanted}"; leave backend out, or convert the model with tensorflowjs_converter and give its model.json`,
      { details: { option: "backend" } },
    );
  }
  return wanted ?? ((await installedVersion(NATIVE, process.cwd())) === undefined ? "wasm" : "tensorflow");
}

/** Packages of a bundle, by exact version: `wanted`, or what is installed here, or 4.22.0. */
export async function runtimePackages(
  { format, backend }: { readonly format: TensorFlowFormat; readonly backend: TensorFlowBackend },
  wanted: string | undefined,
): Promise<Readonly<Record<string, string>>> {
  const names =
    backend === "tensorflow"
      ? [NATIVE]
      : [
          `@tensorflow/tfjs-backend-${backend}`,
          format === "layers-model" ? "@tensorflow/tfjs-layers" : "@tensorflow/tfjs-converter",
          CORE,
        ];
  // They take each other in one and the same version only.
  const version = wanted ?? (await installed(names.at(-1) ?? CORE)) ?? DEFAULT_VERSION;
  return Object.fromEntries(names.map((name) => [name, version]));
}

/** Install scripts: that of tfjs-node fetches the library; that of core-js, which it brings, shows an advertisement. */
export function runtimeScripts(backend: TensorFlowBackend): Readonly<Record<string, boolean>> {
  return backend === "tensorflow" ? { [NATIVE]: true, "core-js": false } : {};
}

async function installed(name: string): Promise<string | undefined> {
  return (
    (await installedVersion(name, process.cwd())) ??
    installedVersion(name, dirname(fileURLToPath(import.meta.url)))
  );
}
