// The images that models are built on by default, on an engine that reaches no registry: those of the tests by these names.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Engine } from "../../core/runtimes/engine.ts";
import { BASE_IMAGE } from "./engine.ts";

/** Made by python-base-image.sh. */
export const PYTHON_BASE = "windjammer-test-python:3";

/** Ours by the name of each; the template of `windjammer init` names its Python in short. */
const DEFAULTS: Readonly<Record<string, string>> = {
  "node:24-bookworm-slim": BASE_IMAGE,
  "python:3.12-slim-bookworm": PYTHON_BASE,
  "python:3.12-slim": PYTHON_BASE,
};

/** Gives the base image this name where the engine has none of it, until it is disposed. */
export async function defaultBaseImage(): Promise<AsyncDisposable> {
  return named(["node:24-bookworm-slim"]);
}

/** The same, and Python's. */
export async function defaultImages(): Promise<AsyncDisposable> {
  await pythonBase();
  return named(Object.keys(DEFAULTS));
}

/** Makes the image that Python models are built on in tests, where there is none. */
export async function pythonBase(): Promise<void> {
  const engine = await Engine.connect(undefined);
  if ((await engine.findImage(PYTHON_BASE)) !== undefined) return;
  const script = fileURLToPath(new URL("python-base-image.sh", import.meta.url));
  execFileSync(script, [PYTHON_BASE], { stdio: ["ignore", "ignore", "inherit"] });
}

async function named(names: readonly string[]): Promise<AsyncDisposable> {
  const engine = await Engine.connect(undefined);
  const ours: string[] = [];
  for (const name of names) {
    if ((await engine.findImage(name)) !== undefined) continue;
    const [repository = "", tag = ""] = name.split(":");
    await engine.tag(DEFAULTS[name] ?? "", repository, tag);
    ours.push(name);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      for (const name of ours) await engine.removeImage(name);
    },
  };
}
