// A store without a disk: records live as long as the object. For tests and throw-away servers.
import { ShuttingDownError } from "../errors.ts";
import type { DeploymentEvent } from "../types.ts";
import {
  COLLECTION_NAMES,
  emptyState,
  encodeChanges,
  type Change,
  type CollectionName,
  type State,
  type Store,
} from "./store.ts";

/** Keeps JSON text, as a store on disk does, so that later changes of a caller's object do not reach it. */
export class MemoryStore implements Store {
  readonly name: string = "memory";
  readonly #records = new Map<CollectionName, Map<string, string>>(
    COLLECTION_NAMES.map((collection) => [collection, new Map()]),
  );
  readonly #events = new Map<string, string[]>();
  #isOpen = false;

  open(): Promise<State> {
    this.#isOpen = true;
    const state = emptyState();
    for (const [collection, records] of this.#records)
      for (const [key, json] of records) state[collection].set(key, JSON.parse(json));
    return Promise.resolve(state);
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#checkOpen();
    for (const { collection, key, json } of encodeChanges(changes)) {
      if (json !== undefined) this.#records.get(collection)?.set(key, json);
      else {
        this.#records.get(collection)?.delete(key);
        if (collection === "deployments") this.#events.delete(key);
      }
    }
  }

  async appendEvent(deployment: string, event: DeploymentEvent): Promise<void> {
    this.#checkOpen();
    const json = JSON.stringify(event);
    const events = this.#events.get(deployment);
    if (events === undefined) this.#events.set(deployment, [json]);
    else events.push(json);
  }

  async events(deployment: string): Promise<readonly DeploymentEvent[]> {
    this.#checkOpen();
    return (this.#events.get(deployment) ?? []).map((json): DeploymentEvent => JSON.parse(json));
  }

  close(): Promise<void> {
    this.#isOpen = false;
    return Promise.resolve();
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw new ShuttingDownError("the memory store is closed; open it first");
  }
}
