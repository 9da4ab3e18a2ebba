// All deployments of a server: begins them, one per model at a time, records them, and changes what runs.
import { randomUUID } from "node:crypto";
import {
  DeploymentConflictError,
  DeploymentInterruptedError,
  InvalidOptionsError,
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
import { Journal } from "./journal.ts";
import { replicasSchema } from "./options.ts";
import { Pipeline } from "./pipeline.ts";
import { planDeployment, type Plan } from "./plan.ts";
import { endInterrupted, removeUnusedBundles } from "./recovery.ts";
import { Reopening } from "./reopening.ts";
import { checkDeploymentRequest } from "./settings.ts";

export interface DeploymentsParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly runtime: Runtime;
  readonly serving: Serving;
  readonly log: Log;
}

/** Called with each event, once it is durable. Must not throw. */
export type DeploymentListener = (deployment: Deployment, event: DeploymentEvent) => void;

/** What a model is busy with; nothing else may change it meanwhile. */
interface Work {
  readonly what: string;
  /** Kept while the work goes on, though no version may refer to it yet. */
  bundle: string | undefined;
}

/** Begins, follows and recovers deployments; scales and deletes versions. */
export class Deployments {
  readonly #parts: DeploymentsParts;
  readonly #listeners = new Set<DeploymentListener>();
  readonly #journals = new Map<string, Journal>();
  readonly #busy = new Map<string, Work>();
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #reopening: Reopening;

  constructor(parts: DeploymentsParts) {
    this.#parts = parts;
    this.#reopening = new Reopening(parts, this.#closing.signal);
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
    return (await this.#journals.get(id)?.ended()) ?? this.#parts.registry.deployment(id);
  }

  /** All events so far, then those that come; ends with the deployment or the signal. @throws DeploymentNotFoundError */
  async *follow(id: string, signal?: AbortSignal): AsyncGenerator<DeploymentEvent, void, undefined> {
    const journal = this.#journals.get(id);
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
   * @throws ModelNotFoundError, VersionNotFoundError, InvalidOptionsError, DeploymentConflictError, ReplicaStartError
   * (the missing replicas are tried again in the background)
   */
  async scale(model: string, replicas: number, version?: string): Promise<void> {
    if (!replicasSchema.safeParse(replicas).success) {
      throw new InvalidOptionsError(`replicas: expected a whole number from 0 to 1000, got ${replicas}`, {
        details: { field: "replicas" },
      });
    }
    const { registry, serving } = this.#parts;
    const record = registry.version(model, version ?? registry.model(model).currentVersion);
    await this.#reopening.settled(record);
    const served = serving.find(model, record.version);
    if (served !== undefined) {
      this.#refuseBusy(model);
      await registry.setDesiredReplicas(model, record.version, replicas);
      const isIdle = replicas === 0 && registry.model(model).currentVersion !== record.version;
      await (isIdle ? this.#stop(record) : served.scale(replicas));
      return;
    }
    await this.#exclusively(
      model,
      { what: `version ${record.version} is being scaled`, bundle: record.bundle },
      async () => {
        const opened = replicas === 0 ? undefined : await this.#reopening.open(record);
        await registry.setDesiredReplicas(model, record.version, replicas);
        await opened?.scale(replicas);
      },
    );
  }

  /** Stops and removes a version, and its bundle when no other needs it. @throws InUseError for the current version */
  async deleteVersion(model: string, version: string): Promise<void> {
    const { registry } = this.#parts;
    const record = registry.version(model, version);
    await this.#exclusively(
      model,
      { what: `version ${version} is being deleted`, bundle: undefined },
      async () => {
        await registry.deleteVersion(model, version);
        await this.#stop(record);
        await this.#discardBundle(record.bundle);
      },
    );
  }

  /** Stops and removes a model with all its versions. @throws ModelNotFoundError, InUseError while it is linked */
  async deleteModel(model: string): Promise<void> {
    const { registry } = this.#parts;
    await this.#exclusively(model, { what: "it is being deleted", bundle: undefined }, async () => {
      const versions = registry.versions(model);
      await registry.deleteModel(model);
      await Promise.all(versions.map((version) => this.#stop(version)));
      for (const { bundle } of versions) await this.#discardBundle(bundle);
    });
  }

  /**
   * After a start: ends the deployments that the former server left running, removes bundles that no version refers
   * to, and reopens in the background what should run, with the replicas of the former server that still do. Call it
   * once, before anything else.
   */
  async recover(): Promise<void> {
    const { registry, bundles, runtime, serving, log } = this.#parts;
    await endInterrupted(registry, log);
    await removeUnusedBundles({ registry, bundles, runtime, log });
    const orphans = new Set(await runtime.list());
    serving.reserveIds(Array.from(orphans, ({ id }) => id));
    for (const version of registry.versions()) {
      if (version.desiredReplicas === 0) continue;
      const found = [...orphans].filter(
        (running) => running.model === version.model && running.version === version.version,
      );
      for (const running of found) orphans.delete(running);
      this.#reopening.start(version, found);
    }
    for (const running of orphans) {
      log.warn(
        { replica: running.id },
        "stopping a replica that an earlier server left and no version wants",
      );
      void running.stop(0);
    }
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
  }

  async #begin(readRequest: () => DeploymentRequest): Promise<Deployment> {
    this.#refuseClosing();
    const request = readRequest();
    const { name, version, bundle } = request;
    const work: Work = { what: `version ${version} is being deployed`, bundle };
    try {
      this.#reserve(name, work);
      const plan = planDeployment(this.#parts, request, await this.#parts.bundles.get(bundle));
      const deployment: Deployment = {
        id: randomUUID(),
        application: plan.application?.name ?? this.#linkedApplication(name),
        model: name,
        version,
        bundle,
        state: "running",
        startedAt: new Date().toISOString(),
      };
      const journal = this.#journal(deployment);
      await this.#parts.registry.putDeployment(deployment);
      this.#journals.set(deployment.id, journal);
      this.#keepRunning(this.#run(deployment, plan, { journal, work }));
      return deployment;
    } catch (error) {
      if (this.#busy.get(name) === work) this.#busy.delete(name);
      await this.#discardBundle(bundle);
      throw error;
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
    { journal, work }: { journal: Journal; work: Work },
  ): Promise<void> {
    const { registry, runtime, serving, log } = this.#parts;
    const reopening = this.#reopening;
    const signal = this.#closing.signal;
    const reopen = (version: Version): void => reopening.start(version);
    const reopened = (version: Version): Promise<void> => reopening.settled(version);
    const pipeline = new Pipeline(
      { registry, runtime, serving, log, journal, signal, reopened, reopen },
      plan,
    );
    let outcome: Partial<Deployment>;
    try {
      outcome = { state: "succeeded", result: await pipeline.run(deployment) };
    } catch (thrown) {
      const error = toWindjammerError(thrown);
      const { step } = pipeline;
      await pipeline.undo();
      work.bundle = undefined;
      await this.#discardBundle(deployment.bundle);
      outcome = { state: "failed", error: describe(error, step) };
      await this.#sayFailure(journal, { plan, error, step });
    }
    const ended: Deployment = { ...deployment, ...outcome, endedAt: new Date().toISOString() };
    try {
      await registry.putDeployment(ended);
    } catch (error) {
      log.error({ err: error, deployment: deployment.id }, "the end of a deployment could not be stored");
    }
    this.#busy.delete(deployment.model);
    this.#journals.delete(deployment.id);
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

  /** Holds the model for `work`. @throws DeploymentConflictError */
  #reserve(model: string, work: Work): void {
    this.#refuseBusy(model);
    this.#busy.set(model, work);
  }

  async #exclusively(model: string, work: Work, change: () => Promise<void>): Promise<void> {
    this.#refuseClosing();
    this.#reserve(model, work);
    try {
      await change();
    } finally {
      this.#busy.delete(model);
    }
  }

  #refuseBusy(model: string): void {
    const work = this.#busy.get(model);
    if (work === undefined) return;
    throw new DeploymentConflictError(
      `model ${model} cannot be changed now: ${work.what}; try again when that has ended`,
      {
        details: { model, running: work.what },
      },
    );
  }

  #refuseClosing(): void {
    if (this.#closing.signal.aborted)
      throw new ShuttingDownError("the server is closing; nothing can be deployed any more");
  }

  #stop({ model, version, settings }: Version): Promise<void> {
    return this.#parts.serving.close(model, version, settings.batchTimeoutMs);
  }

  /** Removes a bundle that neither a version nor running work needs. Never throws: the next start tries again. */
  async #discardBundle(hash: string): Promise<void> {
    const { registry, bundles, runtime, log } = this.#parts;
    const isNeeded =
      registry.versions().some((version) => version.bundle === hash) ||
      [...this.#busy.values()].some((work) => work.bundle === hash);
    if (isNeeded) return;
    try {
      await runtime.forget?.(hash);
      await bundles.remove(hash);
    } catch (error) {
      log.warn({ err: error, bundle: hash }, "a bundle could not be removed");
    }
  }

  #linkedApplication(model: string): string {
    return this.#parts.registry.links().find((link) => link.model === model)?.application ?? "";
  }
}

function describe(error: WindjammerError, step: DeploymentStep): DeploymentError {
  return { code: error.code, message: error.message, step, logTail: logTailOf(error) };
}

function logTailOf(error: WindjammerError): readonly string[] {
  const tail = error.details["logTail"];
  return Array.isArray(tail) ? tail.map(String) : [];
}
