// All deployments of a server: begins them, one per model at a time, records them, and changes what runs.
import { randomUUID } from "node:crypto";
import type { JsonValue } from "../../containers/protocol.ts";
import {
  DeploymentInterruptedError,
  ShuttingDownError,
  toWindjammerError,
  type WindjammerError,
} from "../errors.ts";
import type { Log } from "../log.ts";
import type { Serving } from "../query/serving.ts";
import type { Registry } from "../registry/registry.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type {
  Deployment,
  DeploymentError,
  DeploymentEvent,
  DeploymentRequest,
  DeploymentStep,
  Version,
} from "../types.ts";
import type { BundleStore } from "./bundle-store.ts";
import { connectsByItself } from "./container-kind.ts";
import { Journal } from "./journal.ts";
import { ModelLocks, type Work } from "./model-locks.ts";
import { Pipeline } from "./pipeline.ts";
import { planDeployment, type Plan } from "./plan.ts";
import { endInterrupted, stopReplicas } from "./recovery.ts";
import { Reopening } from "./reopening.ts";
import { Scaling } from "./scaling.ts";
import { checkDeploymentRequest } from "./settings.ts";
import { KEEP_UNUSED_MS, UnusedBundles } from "./unused-bundles.ts";

export interface DeploymentsParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly runtime: Runtime;
  readonly serving: Serving;
  readonly log: Log;
  /** A bundle that nothing refers to is kept so long after its upload. Default 15 minutes. */
  readonly keepUnusedBundlesMs?: number | undefined;
}

/** A deployment that runs. */
interface Run {
  readonly journal: Journal;
  readonly cancel: AbortController;
}

const MAX_DETAIL_CHARACTERS = 4000;
/** A deletion waits so long for batches of containers that may be silent for many minutes: one that hangs must not hold it up. */
const GUEST_GRACE_MS = 30_000;

/** Called with each event, once it is durable. Must not throw. */
export type DeploymentListener = (deployment: Deployment, event: DeploymentEvent) => void;

/** Begins, follows and recovers deployments; scales and deletes versions. */
export class Deployments {
  readonly #parts: DeploymentsParts;
  readonly #listeners = new Set<DeploymentListener>();
  readonly #runs = new Map<string, Run>();
  readonly #locks = new ModelLocks();
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #reopening: Reopening;
  readonly #scaling: Scaling;
  readonly #unusedBundles: UnusedBundles;

  constructor(parts: DeploymentsParts) {
    this.#parts = parts;
    const { registry, serving, bundles, runtime, log } = parts;
    const locks = this.#locks;
    this.#reopening = new Reopening(parts, this.#closing.signal);
    this.#scaling = new Scaling({ registry, serving, locks, reopening: this.#reopening });
    this.#unusedBundles = new UnusedBundles(
      { registry, bundles, runtime, locks, log },
      parts.keepUnusedBundlesMs ?? KEEP_UNUSED_MS,
    );
  }

  /**
   * Checks and records a deployment, and runs it in the background: `wait` or `follow` it.
   * @throws InvalidOptionsError, BundleNotFoundError, VersionExistsError, DeploymentConflictError, InvalidRequestError,
   * InUseError, InvalidInputError (of an example); nothing is recorded then
   */
  begin(request: DeploymentRequest): Promise<Deployment> {
    return this.#begin(() => checkDeploymentRequest(request));
  }

  /**
   * Makes a deployed version the current one again, through the same gate; replica count and application are kept.
   * @throws ModelNotFoundError, VersionNotFoundError, DeploymentConflictError
   */
  setVersion(model: string, version: string): Promise<Deployment> {
    return this.#begin(() => {
      const { bundle } = this.#parts.registry.version(model, version);
      return { name: model, version, bundle, application: null };
    });
  }

  /** Resolves when the deployment has ended, also when it failed. @throws DeploymentNotFoundError */
  async wait(id: string): Promise<Deployment> {
    return (await this.#runs.get(id)?.journal.ended()) ?? this.#parts.registry.deployment(id);
  }

  /**
   * Ends a deployment before its switch, with its steps undone, and gives its record. One that has switched or ended
   * goes on as it is: the record says so. @throws DeploymentNotFoundError
   */
  async cancel(id: string): Promise<Deployment> {
    const deployment = this.#parts.registry.deployment(id);
    if (deployment.state !== "running") return deployment;
    this.#runs.get(id)?.cancel.abort(new DeploymentInterruptedError("the deployment was cancelled"));
    return this.wait(id);
  }

  /** All events so far, then those that come; ends with the deployment or the signal. @throws DeploymentNotFoundError */
  async *follow(id: string, signal?: AbortSignal): AsyncGenerator<DeploymentEvent, void, undefined> {
    const journal = this.#runs.get(id)?.journal;
    if (journal !== undefined) yield* journal.follow(signal);
    else yield* await this.#parts.registry.events(id);
  }

  /** Calls `listener` synchronously with each event. Returns a call that ends it. */
  onEvent(listener: DeploymentListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Runs `replicas` of a version, by default of the current one; resolves when they are ready. A version that does not
   * run is started first, without taking over. 0 stops them; the current version then answers with NoReplicaError.
   * The current version can be scaled while another one is being deployed.
   * @throws ModelNotFoundError, VersionNotFoundError, InvalidOptionsError, DeploymentConflictError (also when a later
   * call asks for another count before these are ready), ReplicaStartError (the missing replicas are tried again in
   * the background)
   */
  async scale(model: string, replicas: number, version?: string): Promise<void> {
    this.#refuseClosing();
    await this.#scaling.scale(model, replicas, version);
  }

  /** Whether a version that does not run is being opened, and why the last try failed. */
  openingOf(version: Version): ReturnType<Reopening["stateOf"]> {
    return this.#reopening.stateOf(version);
  }

  /** Stops and removes a version, and its bundle when no other needs it. @throws InUseError for the current version */
  async deleteVersion(model: string, version: string): Promise<void> {
    const { registry } = this.#parts;
    const record = registry.version(model, version);
    const what = `version ${version} is being deleted`;
    await this.#delete(model, what, async () => {
      await registry.deleteVersion(model, version);
      await this.#forget(record);
    });
  }

  /** Stops and removes a model with all its versions. @throws ModelNotFoundError, InUseError while it is linked */
  async deleteModel(model: string): Promise<void> {
    const { registry } = this.#parts;
    await this.#delete(model, "it is being deleted", async () => {
      const versions = registry.versions(model);
      await registry.deleteModel(model);
      await Promise.all(versions.map((version) => this.#forget(version)));
    });
  }

  /**
   * After a start: ends the deployments that the former server left running, removes bundles that no version refers
   * to, and reopens in the background what should run, with the replicas of the former server that still do. Call it
   * once, before anything else.
   */
  async recover(): Promise<void> {
    const { registry, runtime, serving, log } = this.#parts;
    await endInterrupted(registry, log);
    // Whatever their age: who uploaded them has lost his connection.
    await this.#unusedBundles.sweep(0);
    this.#unusedBundles.start();
    const orphans = new Set(await runtime.list());
    serving.reserveIds(Array.from(orphans, ({ id }) => id));
    for (const version of registry.versions()) {
      if (connectsByItself(version.manifest)) await this.#openForGuests(version);
      if (version.desiredReplicas === 0) continue;
      const found = [...orphans].filter(
        (running) => running.model === version.model && running.version === version.version,
      );
      for (const running of found) orphans.delete(running);
      this.#reopening.start(version, found);
    }
    for (const { id } of orphans)
      log.warn({ replica: id }, "stopping a replica that an earlier server left and no version wants");
    void stopReplicas([...orphans], log);
  }

  /** Fails what still runs, with its steps undone, and begins nothing more. Replicas are not stopped here. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(
      new DeploymentInterruptedError(
        "the server was closed during the deployment; nothing of it is left: deploy again",
      ),
    );
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#reopening.close();
    await this.#unusedBundles.close();
  }

  async #begin(readRequest: () => DeploymentRequest): Promise<Deployment> {
    this.#refuseClosing();
    const request = readRequest();
    const { name, version, bundle } = request;
    const work = this.#locks.take(name, { what: `version ${version} is being deployed`, version, bundle });
    try {
      const plan = planDeployment(this.#parts, request, await this.#parts.bundles.get(bundle));
      const deployment: Deployment = {
        id: randomUUID(),
        application: plan.application?.name ?? request.application ?? this.#linkedApplication(name),
        model: name,
        version,
        bundle,
        state: "running",
        startedAt: new Date().toISOString(),
      };
      const run: Run = { journal: this.#journal(deployment), cancel: new AbortController() };
      await this.#parts.registry.putDeployment(deployment);
      this.#runs.set(deployment.id, run);
      this.#keepRunning(this.#run(deployment, plan, { ...run, work }));
      return deployment;
    } catch (error) {
      // The bundle stays for a while: it may be another caller's, and this one may try again.
      this.#locks.release(name, work);
      throw error;
    }
  }

  /** Its containers come back by themselves, to whatever version they belong to. */
  async #openForGuests(version: Version): Promise<void> {
    const { bundles, serving, log } = this.#parts;
    try {
      serving.open(version, await bundles.get(version.bundle), "");
    } catch (error) {
      const { model, version: name } = version;
      log.error({ model, version: name, err: error }, "a version could not be reopened for its containers");
    }
  }

  #keepRunning(run: Promise<void>): void {
    const settled = run.finally(() => this.#running.delete(settled));
    this.#running.add(settled);
  }

  /** Never rejects. */
  async #run(
    deployment: Deployment,
    plan: Plan,
    { journal, cancel, work }: Run & { readonly work: Work },
  ): Promise<void> {
    const { registry, log } = this.#parts;
    const closing = this.#closing.signal;
    const signal = AbortSignal.any([closing, cancel.signal]);
    const beginSwitch = (): void => {
      work.isSwitching = true;
    };
    const reopening = this.#reopening;
    const pipeline = new Pipeline({ ...this.#parts, reopening, journal, signal, closing, beginSwitch }, plan);
    let outcome: Partial<Deployment>;
    try {
      outcome = { state: "succeeded", result: await pipeline.run(deployment) };
    } catch (thrown) {
      const error = toWindjammerError(signal.aborted ? signal.reason : thrown);
      const { step } = pipeline;
      await pipeline.undo();
      outcome = { state: "failed", error: describe(error, step) };
      await this.#sayFailure(journal, { plan, error, step });
    }
    const ended: Deployment = { ...deployment, ...outcome, endedAt: new Date().toISOString() };
    try {
      await registry.putDeployment(ended);
    } catch (error) {
      log.error({ err: error, deployment: deployment.id }, "the end of a deployment could not be stored");
    }
    this.#locks.release(deployment.model, work);
    if (ended.state === "failed") await this.#unusedBundles.sweep();
    this.#runs.delete(deployment.id);
    journal.end(ended);
  }

  async #sayFailure(
    journal: Journal,
    { plan, error, step }: { plan: Plan; error: WindjammerError; step: DeploymentStep },
  ): Promise<void> {
    const former =
      plan.former === undefined
        ? "nothing of it is left"
        : `version ${plan.former.version} goes on as before`;
    const details = { code: error.code, logTail: logTailOf(error) };
    try {
      await journal.say({ step, level: "error", message: `${error.message}; ${former}`, details });
    } catch (unsaid) {
      this.#parts.log.error({ err: unsaid }, "the failure of a deployment could not be stored");
    }
  }

  #journal(deployment: Deployment): Journal {
    const { registry, log } = this.#parts;
    return new Journal({
      persist: (event) => registry.appendEvent(deployment.id, event),
      deliver: (event) => {
        log.info({ deployment: deployment.id, step: event.step, level: event.level }, event.message);
        for (const listener of this.#listeners) {
          try {
            listener(deployment, event);
          } catch (error) {
            log.error({ err: error }, "a listener of deployments threw");
          }
        }
      },
    });
  }

  async #delete(model: string, what: string, change: () => Promise<void>): Promise<void> {
    this.#refuseClosing();
    await this.#locks.hold(model, { what, version: undefined, bundle: undefined }, change);
    await this.#unusedBundles.sweep();
  }

  #refuseClosing(): void {
    if (this.#closing.signal.aborted)
      throw new ShuttingDownError("the server is closing; nothing can be deployed any more");
  }

  #forget({ model, version, settings, manifest }: Version): Promise<void> {
    const { batchTimeoutMs } = settings;
    const graceMs = connectsByItself(manifest) ? Math.min(batchTimeoutMs, GUEST_GRACE_MS) : batchTimeoutMs;
    return this.#parts.serving.forget(model, version, graceMs);
  }

  #linkedApplication(model: string): string {
    return this.#parts.registry.links().find((link) => link.model === model)?.application ?? "";
  }
}

function describe(error: WindjammerError, step: DeploymentStep): DeploymentError {
  const { code, message } = error;
  return { code, message, step, logTail: logTailOf(error), details: detailsOf(error) };
}

function logTailOf(error: WindjammerError): readonly string[] {
  const tail = error.details["logTail"];
  return Array.isArray(tail) ? tail.map(String) : [];
}

/** As JSON, without the lines that stand beside them, and without what would swell the record. */
function detailsOf(error: WindjammerError): DeploymentError["details"] {
  const details: { [key: string]: JsonValue } = {};
  for (const [key, value] of Object.entries(error.details)) {
    const text = key === "logTail" ? undefined : JSON.stringify(value);
    if (text === undefined) continue;
    const isLong = text.length > MAX_DETAIL_CHARACTERS;
    details[key] = isLong ? `${text.slice(0, MAX_DETAIL_CHARACTERS)}…` : (JSON.parse(text) as JsonValue);
  }
  return details;
}
