// The image that models are built on by default, on an engine that reaches no registry: the one of the tests by that name.
import { Engine } from "../../core/runtimes/engine.ts";
import { BASE_IMAGE } from "./engine.ts";

const DEFAULT = { repository: "node", tag: "24-bookworm-slim" } as const;

/** Gives it that name where the engine has none of it, until it is disposed. */
export async function defaultBaseImage(): Promise<AsyncDisposable> {
  const engine = await Engine.connect(undefined);
  const name = `${DEFAULT.repository}:${DEFAULT.tag}`;
  const isOurs = (await engine.findImage(name)) === undefined;
  if (isOurs) await engine.tag(BASE_IMAGE, DEFAULT.repository, DEFAULT.tag);
  return {
    [Symbol.asyncDispose]: async () => {
      if (isOurs) await engine.removeImage(name);
    },
  };
}
