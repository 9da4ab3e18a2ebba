// Images between the engine and registries: pulls of base images, pushes of what was built, tried again where that helps.
import { setTimeout as delay } from "node:timers/promises";
import { DiskFullError, EngineUnreachableError, ImageBuildError } from "../../errors.ts";
import type { Engine, EngineMessage, RegistryLogin } from "../engine.ts";
import type { BuiltImage, PrepareOptions } from "../runtime.ts";
import { buildError, NO_LOGIN } from "./build-errors.ts";
import { BuildLog, type BuildOutcome } from "./build-log.ts";
import type { DockerOptions, PushOptions } from "./index.ts";

const FIRST_RETRY_MS = 500;
const DEFAULT_TRIES = 3;

type Progress = Pick<PrepareOptions, "report" | "signal">;

/**
 * Id of a base image, which is pulled where the engine has none unless `pull` is "never", or where it is "always".
 * @param hasImage an image that was built on it is there: a registry that cannot be reached then changes nothing
 * @returns undefined when it is nowhere, and `hasImage`
 * @throws ImageBuildError, DiskFullError, EngineUnreachableError
 */
export async function findBaseImage(
  engine: Engine,
  { baseImage, hasImage, options }: { baseImage: string; hasImage: boolean; options: DockerOptions },
  progress: Progress,
): Promise<string | undefined> {
  const { pull = "missing", pullLogin } = options;
  const known = (await engine.findImage(baseImage))?.id;
  if (pull !== "always" && (known !== undefined || hasImage)) return known;
  if (pull === "never") {
    throw new ImageBuildError(
      `image ${baseImage} is not on this engine, and pull: "never" lets none be fetched; load it there (docker load, docker pull), or choose pull: "missing"`,
      { details: { image: baseImage, logTail: [] } },
    );
  }
  try {
    await transfer(`pulling ${baseImage}`, { tries: DEFAULT_TRIES, ...progress }, (signal) =>
      engine.pull(baseImage, loginFor(baseImage, pullLogin), signal),
    );
  } catch (error) {
    if (!hasImage || progress.signal.aborted) throw error;
    progress.report(`${(error as Error).message}; going on with the image that is there`);
  }
  return (await engine.findImage(baseImage))?.id;
}

/** A login that names its registry is shown to no other. */
function loginFor(image: string, login: RegistryLogin | undefined): RegistryLogin | undefined {
  const registry = login?.serveraddress?.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return registry === undefined || image.startsWith(`${registry}/`) ? login : undefined;
}

/** Gives an image its name in the registry and pushes it there. @throws ImageBuildError, EngineUnreachableError */
export async function pushImage(
  engine: Engine,
  { tag, push }: { readonly tag: string; readonly push: PushOptions },
  progress: Progress,
): Promise<NonNullable<BuiltImage["pushed"]>> {
  const { repository, tries = DEFAULT_TRIES, ...login } = push;
  const [name = "", version = ""] = tag.split(":");
  const target = `${repository}/${name.slice(name.indexOf("/") + 1)}`;
  await engine.tag(tag, target, version);
  const image = `${target}:${version}`;
  const { digest = "" } = await transfer(`pushing ${image}`, { tries, ...progress }, (signal) =>
    engine.push(image, login, signal),
  );
  progress.report(`pushed ${image}`, { image, digest });
  return { image, digest };
}

/** @param what "pushing registry.example.org/models/digits:1" */
async function transfer(
  what: string,
  { tries, report, signal }: Progress & { readonly tries: number },
  begin: (signal: AbortSignal) => AsyncIterable<EngineMessage>,
): Promise<BuildOutcome> {
  for (let attempt = 1; ; attempt++) {
    const log = new BuildLog(report, what);
    try {
      for await (const message of begin(signal)) log.take(message);
      if (log.outcome.error !== undefined) throw buildError(what, log.outcome);
      return log.outcome;
    } catch (error) {
      if (signal.aborted || error instanceof EngineUnreachableError || error instanceof DiskFullError)
        throw error;
      // What the engine refused at once it says in its reply, not in its messages.
      const told =
        error instanceof ImageBuildError
          ? error
          : buildError(what, { ...log.outcome, error: (error as Error).message });
      if (attempt >= tries || isFinal(told)) throw told;
      report(`${told.message}; attempt ${attempt} of ${tries}`);
      await delay(FIRST_RETRY_MS * 2 ** attempt, undefined, { signal });
    }
  }
}

/** Tried again, it would fail again. */
function isFinal({ message }: Error): boolean {
  return (
    NO_LOGIN.test(message) ||
    /manifest.*(?:unknown|not found)|does not exist|invalid reference/i.test(message)
  );
}
