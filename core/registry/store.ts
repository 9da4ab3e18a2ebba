// Contract of a state store: durable records, changed in atomic commits.
// It deliberately has no query language, transaction handle or connection: a registry is small, is read whole at
// the start and kept in memory, and a shared store (Redis, PostgreSQL) can implement two calls.
import type { Application, Deployment, DeploymentEvent, Link, Model, Version } from "../types.ts";
import { versionKey } from "../version-key.ts";

/** Record type by collection. Keys: see `keyOf`. */
export interface Collections {
  readonly applications: Application;
  readonly models: Model;
  readonly versions: Version;
  readonly links: Link;
  readonly deployments: Deployment;
}

export type CollectionName = keyof Collections;

export const COLLECTION_NAMES: readonly CollectionName[] = [
  "applications",
  "models",
  "versions",
  "links",
  "deployments",
];

export type Change = {
  readonly [C in CollectionName]:
    | { readonly put: C; readonly record: Collections[C] }
    | { readonly delete: C; readonly key: string };
}[CollectionName];

export type State = { readonly [C in CollectionName]: ReadonlyMap<string, Collections[C]> };

/** A state that its holder changes. */
export type MutableState = { readonly [C in CollectionName]: Map<string, Collections[C]> };

export interface Store {
  readonly name: string;
  /**
   * Takes the store for this process and reads every record, in the order in which they were first put.
   * @throws StateDirInUseError when another process has it, StateDirError when it cannot be read or written
   */
  open(): Promise<State>;
  /**
   * All changes or none, in order; durable when it resolves. A key that is not there can be deleted; a deployment's
   * events go with it. @throws DiskFullError, StateDirError
   */
  commit(changes: readonly Change[]): Promise<void>;
  /** Appends to a deployment's log; durable when it resolves. */
  appendEvent(deployment: string, event: DeploymentEvent): Promise<void>;
  /** Events of a deployment, in order; empty when unknown. */
  events(deployment: string): Promise<readonly DeploymentEvent[]>;
  /** Gives the store up; again is harmless. Any other call then throws ShuttingDownError. */
  close(): Promise<void>;
}

/** Key of a record in its collection. Names hold no "/", so parts joined by it cannot collide. */
export function keyOf<C extends CollectionName>(collection: C, record: Collections[C]): string {
  const keys: { readonly [K in CollectionName]: (record: Collections[K]) => string } = {
    applications: (application) => application.name,
    models: (model) => model.name,
    versions: versionKey,
    links: (link) => `${link.application}/${link.model}`,
    deployments: (deployment) => deployment.id,
  };
  return keys[collection](record);
}

/** A change as it is stored; `json` is undefined for a delete. */
export interface EncodedChange {
  readonly collection: CollectionName;
  readonly key: string;
  readonly json: string | undefined;
}

/** Encodes a whole commit, so that a record that cannot be JSON is refused before anything changes. */
export function encodeChanges(changes: readonly Change[]): readonly EncodedChange[] {
  return changes.map((change) => {
    if ("delete" in change) return { collection: change.delete, key: change.key, json: undefined };
    const json = JSON.stringify(change.record);
    return { collection: change.put, key: keyOf(change.put, change.record), json };
  });
}

/** A state without records. */
export function emptyState(): MutableState {
  return {
    applications: new Map(),
    models: new Map(),
    versions: new Map(),
    links: new Map(),
    deployments: new Map(),
  };
}
