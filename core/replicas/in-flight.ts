// How many batches a replica may hold at once.
import { isForeign, type Manifest } from "../../containers/protocol.ts";
import type { Version } from "../types.ts";

/**
 * Of a server elsewhere, where a version says nothing: one batch is computed while the next is on its way. More would
 * make batches smaller where the server computes one after the other, which nobody can see from here.
 */
const DEFAULT_ELSEWHERE = 2;

/** Whether its containers may compute several batches side by side: those of ours and Clipper's take one after the other. */
export function takesSeveral({ container }: Pick<Manifest, "container">): boolean {
  return isForeign(container);
}

/** How many batches one replica of the version is to hold: the most where one process sends them all. */
export function maxInFlight({ manifest, settings }: Pick<Version, "manifest" | "settings">): number {
  if (!takesSeveral(manifest)) return 1;
  return settings.maxInFlight ?? (manifest.container?.kind === "url" ? DEFAULT_ELSEWHERE : 1);
}

/**
 * The part of it that each process may send: an equal one, and one batch at least.
 * @param senders the workers and the server's own process, which has few queries; 1: there are no workers
 */
export function inFlightShare(version: Pick<Version, "manifest" | "settings">, senders: number): number {
  return Math.ceil(maxInFlight(version) / Math.max(1, senders - 1));
}

/** Most batches that one replica holds, of all processes together: more than `maxInFlight` where there are workers. */
export function inFlightTogether(version: Pick<Version, "manifest" | "settings">, senders: number): number {
  return senders * inFlightShare(version, senders);
}
