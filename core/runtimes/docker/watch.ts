// Hears from the engine what happens to our containers, and looks after all of them when it has been away.
import { setTimeout as delay } from "node:timers/promises";
import type { Engine, Labels } from "../engine.ts";
import type { ContainerReplica } from "./container.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/** Runs until the signal aborts; never rejects. @param find the replica of a container */
export async function watchContainers(
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
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const events = await engine.events(labels, signal);
      pauseMs = FIRST_PAUSE_MS;
      // What happened while nobody listened.
      await Promise.all(Array.from(all(), (replica) => replica.check()));
      for await (const { action, container } of events) tell(find(container), action);
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
