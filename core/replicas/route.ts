// How a replica that is ready is reached: what the process that started it can tell others that send it batches, too.
import type { Manifest } from "../../containers/protocol.ts";
import type { ReplicaAddress } from "../types.ts";
import { overInferSocket } from "./infer-socket.ts";
import { isReady } from "./readiness.ts";
import { type Occupant, Replica } from "./replica.ts";
import type { ReplicaTransport } from "./transport.ts";

export interface ReplicaRoute {
  readonly address: ReplicaAddress;
  /** Path of its infer socket; undefined: it has none. */
  readonly inferSocket: string | undefined;
}

export interface RouteParts {
  readonly route: ReplicaRoute;
  /** To the route's address. */
  readonly transport: ReplicaTransport;
  readonly manifest: Pick<Manifest, "container">;
  /** Our name for the model. */
  readonly model: string;
  /** Most batches that this process gives it at once. */
  readonly maxInFlight: number;
}

/** A replica that takes batches by the shortest way there is to it. */
export function replicaAt(occupant: Occupant, parts: RouteParts): Replica {
  const { route, transport, manifest, model, maxInFlight } = parts;
  return route.inferSocket === undefined
    ? new Replica(occupant, transport, { isReady: () => isReady(transport, manifest, model), maxInFlight })
    : new Replica(occupant, overInferSocket(transport, route.inferSocket), {
        isReady: modelThreadHasGone,
        maxInFlight,
      });
}

/** The model's thread never closes its socket: a call that fails there has lost it, whatever the main thread still says. */
function modelThreadHasGone(): Promise<boolean> {
  return Promise.resolve(false);
}
