// Hears from the engine what happens to our containers and images, and looks after all of them when it has been away.
import { setTimeout as delay } from "node:timers/promises";
import type { Engine, EngineEvent, EventFilter, Labels } from "../engine.ts";
import type { ContainerReplica } from "./container.ts";
import type { KeptImages } from "./kept-images.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** What an image's name was taken from it by: Docker's words and Podman's. */
const IMAGE_REMOVALS: ReadonlySet<string> = new Set(["untag", "delete", "remove"]);

/** Runs until the signal aborts; never rejects. @param find the replica of a container */
export function watchContainers(
  engine: Engine,
  labels: Labels,
  {
    find,
    all,
    signal,
  }: {
    readonly find: (container: string) => ContainerReplica | undefined;
    readonly all: () => Iterable<ContainerReplica>;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  return watch(
    engine,
    { type: "container", labels },
    {
      checkAll: async () => {
        await Promise.all(Array.from(all(), (replica) => replica.check()));
      },
      take: ({ action, id }) => tell(find(id), action),
      signal,
    },
  );
}

/** Runs until the signal aborts; never rejects. */
export function watchImages(engine: Engine, kept: KeptImages, signal: AbortSignal): Promise<void> {
  return watch(
    engine,
    // Not by labels: an image that is gone has none for Podman any more.
    { type: "image", labels: {} },
    {
      checkAll: () => kept.check(),
      // An event names an image by its id, which is of no more use.
      take: ({ action }) => (IMAGE_REMOVALS.has(action) ? kept.check() : undefined),
      signal,
    },
  );
}

async function watch(
  engine: Engine,
  filter: EventFilter,
  {
    checkAll,
    take,
    signal,
  }: {
    readonly checkAll: () => Promise<void>;
    readonly take: (event: EngineEvent) => Promise<void> | void;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const events = await engine.events(filter, signal);
      pauseMs = FIRST_PAUSE_MS;
      // What happened while nobody listened.
      await checkAll();
      for await (const event of events) await take(event);
    } catch {
      // The engine is gone: replicas that still run go on answering, and we listen again when it is back.
    }
    await delay(pauseMs, undefined, { signal }).catch(() => {});
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
  }
}

function tell(replica: ContainerReplica | undefined, action: string): void {
  if (action === "oom") replica?.noteOutOfMemory();
  if (action === "health_status: unhealthy") void replica?.noteUnhealthy();
  if (action === "die" || action === "destroy") void replica?.check();
}
