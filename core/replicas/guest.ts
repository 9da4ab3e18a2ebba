// A replica that came by itself and goes by itself: nobody starts it, and nobody replaces it.
import type { RunningReplica } from "../runtimes/runtime.ts";
import type { ReplicaStatus } from "../types.ts";
import { Replica } from "./replica.ts";
import type { ReplicaTransport } from "./transport.ts";

/** Stands among the slots of a pool; where a slot would start another occupant, a guest is gone. */
export class Guest {
  readonly running: RunningReplica;
  readonly replica: Replica;
  readonly isComing = false;
  /** It is reached by this process alone. */
  readonly route = undefined;
  #state: ReplicaStatus["state"] = "ready";
  #isLeaving = false;

  /** @param isReady asks it whether it is ready */
  constructor(running: RunningReplica, transport: ReplicaTransport, isReady: () => Promise<boolean>) {
    this.running = running;
    this.replica = new Replica(running, transport, { isReady });
  }

  get state(): ReplicaStatus["state"] {
    return this.#state;
  }

  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  holds(replica: Replica): boolean {
    return this.replica === replica;
  }

  whenReady(): Promise<void> {
    return Promise.resolve();
  }

  /** Its replica gets no batch any more. */
  withdraw(): void {
    this.replica.retire();
    this.#state = "stopping";
  }

  async close(graceMs: number): Promise<void> {
    this.#isLeaving = true;
    this.withdraw();
    await this.running.stop(graceMs);
  }

  status(): ReplicaStatus {
    const { id, model, version, handle, startedAt } = this.running;
    return { id, model, version, state: this.#state, handle, startedAt, restarts: 0 };
  }
}
