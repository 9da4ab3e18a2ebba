// Application to version: a snapshot of the registry, rebuilt on each change, that a query costs one look-up.
import type { Manifest } from "../../containers/protocol.ts";
import {
  ApplicationNotFoundError,
  ModelNotFoundError,
  NoModelLinkedError,
  NoReplicaError,
  VersionNotFoundError,
  type WindjammerError,
} from "../errors.ts";
import type { ApplicationMetrics } from "../metric-handles.ts";
import type { Metrics } from "../metrics.ts";
import type { Application, Link, Model, Version } from "../types.ts";
import { PredictionCache } from "./cache.ts";
import type { Query } from "./query.ts";

/** What the query path needs of a version that runs; `ServedVersion` is one. */
export interface Served {
  readonly version: Version;
  readonly readyCount: number;
  /** Settles the query exactly once, now or later. */
  enqueue(query: Query): void;
  lastTrouble(): string | undefined;
  /** A query ended in this error. */
  noteError(error: WindjammerError): void;
}

/** Where versions that run are found; `Serving` is one. */
interface ServedVersions {
  find(model: string, version: string): Served | undefined;
}

/** Who opens versions; `Deployments` is one. */
interface Openings {
  openingOf(version: Version): { readonly isOpening: boolean; readonly lastError: string | undefined };
}

/** What routing reads of the registry; `Registry` is one. */
export interface RoutingTable {
  applications(): readonly Application[];
  linkOf(application: string): Link | undefined;
  findModel(name: string): Model | undefined;
  findVersion(model: string, version: string): Version | undefined;
  models(): readonly Model[];
  versions(model: string): readonly Version[];
  onChange(listener: () => void): () => void;
}

/** Where an application's queries go. */
interface Route {
  readonly application: Application;
  readonly metrics: ApplicationMetrics;
  readonly version: Version | undefined;
  /** Answers of this version to this application; undefined: the application has no cache. */
  readonly cache: PredictionCache | undefined;
}

/** Where one query goes. */
export interface Target {
  readonly application: Application;
  readonly metrics: ApplicationMetrics;
  /** Undefined: the application has no model. */
  readonly version: Version | undefined;
  readonly manifest: Manifest | undefined;
  /** The version's queue; undefined: `error` says why there is none. */
  readonly served: Served | undefined;
  readonly error: WindjammerError | undefined;
  /** The caller asked for this version: no other may answer. */
  readonly isPinned: boolean;
  /** Stands before `served`, where the application has a cache; it is of the current version. */
  readonly cache: PredictionCache | undefined;
}

export interface VersionState {
  readonly state: "READY" | "LOADING" | "UNAVAILABLE";
  /** Empty: none. */
  readonly reason: string;
}

export interface RouterParts {
  readonly registry: RoutingTable;
  readonly serving: ServedVersions;
  readonly metrics: Metrics;
  /** Says why a version does not run. */
  readonly opening?: Openings;
  /** Processes that share what an application allows its cache; each has an equal part. Default 1. */
  readonly cacheParts?: number;
}

const MAX_LISTED = 10;

export class Router {
  readonly #parts: RouterParts;
  readonly #stop: () => void;
  #routes: ReadonlyMap<string, Route> = new Map();

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.#rebuild();
    this.#stop = parts.registry.onChange(() => this.#rebuild());
  }

  /**
   * Exactly one version for a query that comes now: the current one, or the one asked for.
   * @throws ApplicationNotFoundError, VersionNotFoundError
   */
  resolve(name: string, versionName?: string): Target {
    const route = this.#routes.get(name);
    if (route === undefined) throw this.#unknownApplication(name);
    const { application, metrics } = route;
    if (route.version === undefined) return this.#withoutModel(route);
    const { model } = route.version;
    const version = versionName === undefined ? route.version : this.#find(model, versionName);
    const served = this.#parts.serving.find(model, version.version);
    const error = served === undefined ? this.#notRunning(version, route.version) : undefined;
    const isPinned = versionName !== undefined;
    const cache = version.version === route.version.version ? route.cache : undefined;
    return { application, metrics, version, manifest: version.manifest, served, error, isPinned, cache };
  }

  /**
   * As `resolve`; a name that no application has is a model's. Its queries have no objective, no default output and no
   * cache, and are counted under no application.
   * @throws ModelNotFoundError, VersionNotFoundError
   */
  resolveModel(name: string, versionName?: string): Target {
    if (this.#routes.has(name)) return this.resolve(name, versionName);
    const { registry, metrics } = this.#parts;
    const model = registry.findModel(name);
    const current = model === undefined ? undefined : registry.findVersion(model.name, model.currentVersion);
    if (current === undefined) {
      throw new ModelNotFoundError(`Request for unknown model: '${shorten(name)}' is not found`, {
        details: { model: shorten(name) },
      });
    }
    const version = versionName === undefined ? current : this.#find(name, versionName);
    const served = this.#parts.serving.find(name, version.version);
    return {
      application: { name, inputType: version.manifest.inputType },
      metrics: metrics.application(""),
      version,
      manifest: version.manifest,
      served,
      error: served === undefined ? this.#notRunning(version, current) : undefined,
      isPinned: versionName !== undefined,
      cache: undefined,
    };
  }

  /** Applications, and the models that no application has the name of. */
  modelNames(): readonly string[] {
    const models = this.#parts.registry.models().map(({ name }) => name);
    return [...new Set([...this.#routes.keys(), ...models])];
  }

  /** Name of the only application. @throws ModelNotFoundError when there are others, or none */
  onlyName(): string {
    const names = [...this.#routes.keys()];
    const [only] = names;
    if (only !== undefined && names.length === 1) return only;
    throw new ModelNotFoundError(
      `this path is for a server with one application, and there are ${names.length}; name the application`,
    );
  }

  /** Versions of a model, running or not. */
  versions(model: string): readonly Version[] {
    return this.#parts.registry.versions(model);
  }

  /** Whether a version answers, in the Open Inference Protocol's words, and why not. */
  stateOf(version: Version): VersionState {
    const served = this.#parts.serving.find(version.model, version.version);
    if (served !== undefined && served.readyCount > 0) return { state: "READY", reason: "" };
    const opening = this.#parts.opening?.openingOf(version);
    const reason = served?.lastTrouble() ?? opening?.lastError ?? "";
    const isWanted = served !== undefined && version.desiredReplicas > 0;
    if (isWanted || opening?.isOpening === true) return { state: "LOADING", reason };
    return unavailable(reason);
  }

  /** Queue of the current version of an application, or of a model of that name, if it has one that runs. */
  current(name: string): Served | undefined {
    const version = this.#currentOf(name);
    return version === undefined ? undefined : this.#parts.serving.find(version.model, version.version);
  }

  /** Every application, for the index of the query API. */
  applications(): readonly Application[] {
    return [...this.#routes.values()].map(({ application }) => application);
  }

  close(): void {
    this.#stop();
  }

  #currentOf(name: string): Version | undefined {
    const route = this.#routes.get(name);
    if (route !== undefined) return route.version;
    const { registry } = this.#parts;
    const model = registry.findModel(name);
    return model === undefined ? undefined : registry.findVersion(name, model.currentVersion);
  }

  #rebuild(): void {
    const { registry, metrics, cacheParts = 1 } = this.#parts;
    const routes = new Map<string, Route>();
    for (const application of registry.applications()) {
      const { name } = application;
      const version = this.#currentVersion(name);
      const former = this.#routes.get(name);
      const cache = isSameCache(application, version, former)
        ? former?.cache
        : cacheOf(application, version, cacheParts);
      routes.set(name, { application, metrics: metrics.application(name), version, cache });
    }
    for (const name of this.#routes.keys()) if (!routes.has(name)) metrics.removeApplication(name);
    this.#routes = routes;
  }

  #currentVersion(application: string): Version | undefined {
    const { registry } = this.#parts;
    const link = registry.linkOf(application);
    const model = link === undefined ? undefined : registry.findModel(link.model);
    return model === undefined ? undefined : registry.findVersion(model.name, model.currentVersion);
  }

  #find(model: string, name: string): Version {
    const { registry } = this.#parts;
    const version = registry.findVersion(model, name);
    if (version !== undefined) return version;
    const names = registry.versions(model).map((other) => other.version);
    const shown = names.slice(0, MAX_LISTED).join(", ");
    const rest = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : "";
    throw new VersionNotFoundError(
      `Requested version: ${shorten(name)} does not exist for model: ${model}; it has ${shown}${rest}`,
      { details: { model, version: shorten(name), versions: names.slice(0, MAX_LISTED) } },
    );
  }

  #withoutModel({ application, metrics }: Route): Target {
    const { name } = application;
    const error = new NoModelLinkedError(
      `application ${name} is linked to no model; deploy one, or link one with PUT /api/v1/applications/${name}/links/MODEL`,
      { details: { application: name } },
    );
    const none = { version: undefined, manifest: undefined, served: undefined, cache: undefined };
    return { application, metrics, error, isPinned: false, ...none };
  }

  #notRunning(wanted: Version, { version: currentVersion }: Version): NoReplicaError {
    const { model, version } = wanted;
    const opening = this.#parts.opening?.openingOf(wanted);
    const current = version === currentVersion ? "" : ` (the current version is ${currentVersion})`;
    const remedy = `start a replica with scale("${model}", 1, "${version}")`;
    let state = `does not run${current}; ${remedy}`;
    if (opening?.lastError !== undefined)
      state = `does not run: ${opening.lastError}; it is tried again and again`;
    else if (opening?.isOpening === true) state = "does not run yet: it is being started; try again";
    return new NoReplicaError(`model ${model} version ${version} ${state}`, {
      details: { model, version, currentVersion },
    });
  }

  #unknownApplication(name: string): ApplicationNotFoundError {
    const names = [...this.#routes.keys()];
    const known =
      names.length === 0
        ? "none is deployed yet"
        : names.length <= MAX_LISTED
          ? `there is ${names.join(", ")}`
          : `there are ${names.length}, see GET /api/v1/applications of the management API`;
    return new ApplicationNotFoundError(`no application ${JSON.stringify(shorten(name))}; ${known}`, {
      details: { application: shorten(name) },
    });
  }
}

function unavailable(reason: string): VersionState {
  return { state: "UNAVAILABLE", reason: reason === "" ? "unloaded" : reason };
}

function cacheOf(
  { cache }: Application,
  version: Version | undefined,
  parts: number,
): PredictionCache | undefined {
  if (cache === undefined || version === undefined) return undefined;
  return new PredictionCache({ ...cache, maxBytes: Math.ceil(cache.maxBytes / parts) });
}

/** The cache goes on as long as neither its settings nor the version's content change; another one starts empty. */
function isSameCache(
  application: Application,
  version: Version | undefined,
  former: Route | undefined,
): boolean {
  const settings = former?.application.cache;
  if (application.cache === undefined || settings === undefined) return application.cache === settings;
  const { maxBytes, ttlMs } = application.cache;
  return (
    isSameContent(version, former?.version) && settings.maxBytes === maxBytes && settings.ttlMs === ttlMs
  );
}

function isSameContent(one: Version | undefined, other: Version | undefined): boolean {
  return one?.model === other?.model && one?.version === other?.version && one?.bundle === other?.bundle;
}

function shorten(name: string): string {
  return name.length > 100 ? `${name.slice(0, 100)}…` : name;
}
