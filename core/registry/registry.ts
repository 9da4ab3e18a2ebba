// The registry: applications, models, versions, links and deployments, in memory as they are in the store.
import { InvalidRequestError, ShuttingDownError } from "../errors.ts";
import type { Application, Deployment, DeploymentEvent, Link, Model, Version } from "../types.ts";
import { applicationOf, deploymentOf, modelOf, versionOf } from "./lookup.ts";
import * as rules from "./rules.ts";
import { keyOf, type Change, type MutableState, type State, type Store } from "./store.ts";

/** Hears what was committed. A promise that it returns holds up the end of the write, not what reads see. */
export type RegistryListener = (changes: readonly Change[]) => unknown;

/**
 * Reads come from memory and cost nothing. A write is checked by its rule, committed as one, and only then seen by
 * reads and told to listeners; writes run one after the other, so nothing changes between a check and its commit.
 */
export class Registry {
  readonly #store: Store;
  readonly #state: MutableState;
  readonly #linkByApplication: Map<string, Link>;
  readonly #listeners = new Set<RegistryListener>();
  #lastWrite: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  private constructor(store: Store, state: State) {
    this.#store = store;
    this.#state = {
      applications: new Map(state.applications),
      models: new Map(state.models),
      versions: new Map(state.versions),
      links: new Map(state.links),
      deployments: new Map(state.deployments),
    };
    this.#linkByApplication = new Map([...state.links.values()].map((link) => [link.application, link]));
  }

  /** Takes the store and reads it. @throws StateDirInUseError, StateDirError, DiskFullError */
  static async open(store: Store): Promise<Registry> {
    return new Registry(store, await store.open());
  }

  /** @throws ApplicationNotFoundError */
  application(name: string): Application {
    return applicationOf(this.#state, name);
  }

  findApplication(name: string): Application | undefined {
    return this.#state.applications.get(name);
  }

  applications(): readonly Application[] {
    return [...this.#state.applications.values()];
  }

  /** @throws ModelNotFoundError */
  model(name: string): Model {
    return modelOf(this.#state, name);
  }

  findModel(name: string): Model | undefined {
    return this.#state.models.get(name);
  }

  models(): readonly Model[] {
    return [...this.#state.models.values()];
  }

  /** @throws ModelNotFoundError, VersionNotFoundError */
  version(model: string, version: string): Version {
    return versionOf(this.#state, model, version);
  }

  findVersion(model: string, version: string): Version | undefined {
    return this.#state.versions.get(`${model}/${version}`);
  }

  /** Versions of a model, or of all, newest first; empty for an unknown model. */
  versions(model?: string): readonly Version[] {
    const all = [...this.#state.versions.values()];
    const wanted = model === undefined ? all : all.filter((version) => version.model === model);
    return newestFirst(wanted, (version) => version.createdAt);
  }

  linkOf(application: string): Link | undefined {
    return this.#linkByApplication.get(application);
  }

  links(): readonly Link[] {
    return [...this.#state.links.values()];
  }

  /** @throws DeploymentNotFoundError */
  deployment(id: string): Deployment {
    return deploymentOf(this.#state, id);
  }

  /** The kept ones (the last 200), newest first. */
  deployments(): readonly Deployment[] {
    return newestFirst([...this.#state.deployments.values()], (deployment) => deployment.startedAt);
  }

  /** Events of a deployment, oldest first, with all that were appended before this call. @throws DeploymentNotFoundError */
  async events(id: string): Promise<readonly DeploymentEvent[]> {
    deploymentOf(this.#state, id);
    await this.#lastWrite;
    return this.#store.events(id);
  }

  /**
   * Calls `listener` after each commit that changed applications, models, versions or links, before the write
   * resolves. It must not throw or reject. Returns a call that ends it.
   */
  onChange(listener: RegistryListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Everything but deployments, as changes that make it from nothing: for a registry that follows this one. */
  snapshot(): readonly Change[] {
    const { applications, models, versions, links } = this.#state;
    return [
      ...Array.from(applications.values(), (record) => ({ put: "applications", record }) as const),
      ...Array.from(models.values(), (record) => ({ put: "models", record }) as const),
      ...Array.from(versions.values(), (record) => ({ put: "versions", record }) as const),
      ...Array.from(links.values(), (record) => ({ put: "links", record }) as const),
    ];
  }

  /** Takes over what the process that has the store committed to it; this one's own store stays as it is. */
  follow(changes: readonly Change[]): void {
    for (const change of changes) this.#apply(change);
    for (const listener of this.#listeners) void listener(changes);
  }

  /** Creates or replaces it. @throws InvalidRequestError for the name, or another input type than its model's */
  putApplication(application: Application): Promise<void> {
    return this.#write(() => rules.putApplication(this.#state, application));
  }

  /** With its link. @throws ApplicationNotFoundError */
  deleteApplication(name: string): Promise<void> {
    return this.#write(() => rules.deleteApplication(this.#state, name));
  }

  /**
   * In place of the application's link to another model, in one commit; no change when they are linked.
   * @throws ApplicationNotFoundError, ModelNotFoundError, InvalidRequestError when the input types differ
   */
  link(application: string, model: string): Promise<void> {
    return this.#write(() => rules.putLink(this.#state, application, model));
  }

  /** @throws ApplicationNotFoundError, ModelNotFoundError, InvalidRequestError when they are not linked */
  unlink(application: string, model: string): Promise<void> {
    return this.#write(() => rules.deleteLink(this.#state, application, model));
  }

  /**
   * Makes a version the current one of its model, all in one commit: the version, the model, and the application
   * with its link and the deployment, where they are given; the former version is retired where asked. A version that
   * exists with the same bundle gets the new settings and keeps its `createdAt`. With `takesOver` false the version alone
   * is recorded, beside the current one.
   * @throws VersionExistsError for another bundle, InvalidRequestError for names and unequal input types (also of
   * other linked applications), InUseError when the application is linked to another model, DeploymentConflictError
   * when it was known and has been deleted, ModelNotFoundError when there is no version to stand beside
   */
  publish(publication: rules.Publication): Promise<void> {
    return this.#write(() => rules.publish(this.#state, publication));
  }

  /** Refuses as `publish` would do now; changes nothing. */
  checkPublish(publication: rules.Publication): void {
    rules.publish(this.#state, publication);
  }

  /** @throws ModelNotFoundError, VersionNotFoundError, InvalidRequestError */
  setDesiredReplicas(model: string, version: string, replicas: number): Promise<void> {
    return this.#write(() => rules.setDesiredReplicas(this.#state, { model, version }, replicas));
  }

  /** @throws ModelNotFoundError, VersionNotFoundError, InUseError for the current version */
  deleteVersion(model: string, version: string): Promise<void> {
    return this.#write(() => rules.deleteVersion(this.#state, model, version));
  }

  /** With its versions. @throws ModelNotFoundError, InUseError while it is linked */
  deleteModel(model: string): Promise<void> {
    return this.#write(() => rules.deleteModel(this.#state, model));
  }

  /** Creates or replaces it, and drops ended ones beyond the last 200, with their events. */
  putDeployment(deployment: Deployment): Promise<void> {
    return this.#write(() => rules.putDeployment(this.#state, deployment));
  }

  /** @throws DeploymentNotFoundError */
  appendEvent(id: string, event: DeploymentEvent): Promise<void> {
    return this.#inTurn(() => {
      deploymentOf(this.#state, id);
      return this.#store.appendEvent(id, event);
    });
  }

  /** Lets the writes that were begun finish; later ones get ShuttingDownError. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#lastWrite;
    await this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #write(rule: () => readonly Change[]): Promise<void> {
    return this.#inTurn(async () => {
      const changes = rule().map(asStored);
      if (changes.length === 0) return;
      await this.#store.commit(changes);
      for (const change of changes) this.#apply(change);
      const told = changes.filter((change) => collectionOf(change) !== "deployments");
      if (told.length === 0) return;
      await Promise.all(Array.from(this.#listeners, (listener) => listener(told)));
    });
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    if (this.#isClosed)
      return Promise.reject(new ShuttingDownError("the registry is closed; start the server again"));
    const turn = this.#lastWrite.then(write);
    this.#lastWrite = turn.catch(() => undefined);
    return turn;
  }

  #apply(change: Change): void {
    if ("delete" in change) {
      const removed = change.delete === "links" ? this.#state.links.get(change.key) : undefined;
      if (removed !== undefined) this.#linkByApplication.delete(removed.application);
      this.#state[change.delete].delete(change.key);
      return;
    }
    const records: Map<string, typeof change.record> = this.#state[change.put];
    records.set(keyOf(change.put, change.record), change.record);
    if (change.put === "links") this.#linkByApplication.set(change.record.application, change.record);
  }
}

function collectionOf(change: Change): string {
  return "put" in change ? change.put : change.delete;
}

/** Exactly what a restart would read, and out of reach of the caller's object. */
function asStored(change: Change): Change {
  if ("delete" in change) return change;
  try {
    return { ...change, record: JSON.parse(JSON.stringify(change.record)) };
  } catch (error) {
    throw new InvalidRequestError(`a record of ${change.put} cannot be JSON: ${String(error)}`, {
      cause: error,
    });
  }
}

/** Of equal times the one that was put last comes first. */
function newestFirst<T>(records: readonly T[], at: (record: T) => string): readonly T[] {
  return records.toReversed().toSorted((a, b) => (at(a) > at(b) ? -1 : Number(at(a) < at(b))));
}
