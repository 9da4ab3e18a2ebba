// One deployment, top to bottom: prepare, start, gate, switch, drain; what it did is undone when a step fails.
import type { Log } from "../log.ts";
import type { Serving } from "../query/serving.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Registry } from "../registry/registry.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { Deployment, DeploymentStep, Version } from "../types.ts";
import { needsRuntime } from "../replicas/source.ts";
import { unlessAborted } from "../wait.ts";
import { hasContract } from "./deployer.ts";
import { describeVersion, isDescribed } from "./describe.ts";
import { runGate } from "./gate.ts";
import { connectsByItself } from "./container-kind.ts";
import type { Journal, Remark } from "./journal.ts";
import type { Plan } from "./plan.ts";
import { planRemarks, replicaCount } from "./plan-remarks.ts";
import { prepareWithin } from "./prepare.ts";
import type { Reopening } from "./reopening.ts";
import { changedGate, changedRunSettings } from "./settings.ts";

/** More lines of one preparation are left out of the events. */
const MAX_PREPARE_LINES = 1000;

export interface PipelineParts {
  readonly registry: Registry;
  readonly runtime: Runtime;
  readonly serving: Serving;
  readonly log: Log;
  readonly journal: Journal;
  readonly reopening: Reopening;
  /** Cuts it off before its switch: it was cancelled, or the server closes. */
  readonly signal: AbortSignal;
  /** The server closes: what is left after the switch is not waited for. */
  readonly closing: AbortSignal;
  /** Called at once before the switch is committed. */
  readonly beginSwitch: () => void;
}

/** Runs one plan. */
export class Pipeline {
  readonly #parts: PipelineParts;
  #plan: Plan;
  readonly #undo: (() => Promise<void>)[] = [];
  #step: DeploymentStep = "receive";

  constructor(parts: PipelineParts, plan: Plan) {
    this.#parts = parts;
    this.#plan = plan;
  }

  /** The step that runs, or in which it failed. */
  get step(): DeploymentStep {
    return this.#step;
  }

  /** Resolves when the version serves, or is ready beside the one that does. @throws what went wrong, before anything has been switched: call `undo` then */
  async run(deployment: Deployment): Promise<Exclude<Deployment["result"], undefined>> {
    for (const remark of planRemarks(this.#plan, deployment)) await this.#say(remark);
    if (this.#plan.kind === "unchanged") return "unchanged";
    const served = await this.#makeReady(this.#plan.kind);
    if (!this.#plan.publication.takesOver) {
      await this.#leaveReady(deployment, served);
      return "ready";
    }
    await this.#switch(deployment);
    await this.#afterSwitch(served);
    return "deployed";
  }

  /** Takes back every step that was done, the last first. Never throws. */
  async undo(): Promise<void> {
    for (const step of this.#undo.splice(0).toReversed()) {
      await step().catch((error: unknown) =>
        this.#parts.log.error({ err: error }, "undoing a deployment step failed"),
      );
    }
  }

  /** Of a version that was not there before, its series go as well. */
  #closeAgain({ model, version }: Version): Promise<void> {
    const { serving, registry } = this.#parts;
    const isNew = registry.findVersion(model, version) === undefined;
    return isNew ? serving.forget(model, version, 0) : serving.close(model, version, 0);
  }

  #makeReady(kind: Exclude<Plan["kind"], "unchanged">): Promise<ServedVersion | undefined> {
    if (kind === "settings") return this.#changeSettings();
    return kind === "registration" ? this.#register() : this.#rollOut();
  }

  /** With no replicas yet, or with those that came before: its containers connect by themselves. */
  async #register(): Promise<ServedVersion> {
    const { serving } = this.#parts;
    const { version, bundle } = this.#plan;
    const { model } = version;
    const running = serving.find(model, version.version);
    const count = replicaCount(running?.readyCount ?? 0);
    await this.#say({
      step: "start",
      message: `its containers come by themselves, as of now ${count}; nothing is started or tried here`,
    });
    if (running !== undefined) return running;
    const served = serving.open(version, bundle, "");
    this.#undo.push(() => this.#closeAgain(version));
    return served;
  }

  /** All replicas are ready before the switch, so that capacity never dips; for that while both versions run. */
  async #rollOut(): Promise<ServedVersion> {
    const { version } = this.#plan;
    const served = await this.#open();
    if (served.readyCount === 0) await this.#startFirst(served);
    const { signal } = this.#parts;
    await runGate({ served, settings: version.settings, signal, say: (remark) => this.#say(remark) });
    await this.#scale(served);
    return served;
  }

  /** The gate comes last, and only where it is another one: its examples queue behind those of callers. */
  async #changeSettings(): Promise<ServedVersion | undefined> {
    const { version, existing } = this.#plan;
    const served = this.#parts.serving.find(version.model, version.version);
    if (served === undefined || existing === undefined) return served;
    if (version.desiredReplicas > existing.desiredReplicas) {
      this.#undo.push(() => served.scale(existing.desiredReplicas));
      await this.#scale(served);
    }
    if (served.readyCount > 0 && changedGate(existing.settings, version.settings)) {
      const { signal } = this.#parts;
      await runGate({ served, settings: version.settings, signal, say: (remark) => this.#say(remark) });
    }
    return served;
  }

  /** The version, open; one that runs already with the same settings is taken as it is. */
  async #open(): Promise<ServedVersion> {
    const { runtime, serving, signal, reopening } = this.#parts;
    const { version, existing, bundle, prepareTimeoutMs } = this.#plan;
    if (existing !== undefined) {
      await unlessAborted(reopening.take(existing), signal);
      this.#undo.push(async () => reopening.start(existing));
    }
    const running = serving.find(version.model, version.version);
    if (
      running !== undefined &&
      running.readyCount > 0 &&
      changedRunSettings(running.version.settings, version.settings).length === 0
    ) {
      const before = existing?.desiredReplicas ?? 0;
      this.#undo.push(() =>
        before === 0 ? serving.close(version.model, version.version, 0) : running.scale(before),
      );
      await this.#say({
        step: "prepare",
        message: `version ${version.version} has ${replicaCount(running.readyCount)} already`,
      });
      return running;
    }
    await this.#say({ step: "prepare", message: `preparing it for the ${runtime.name} runtime` });
    const startedAt = performance.now();
    const options = { report: this.#prepareReport(), signal, timeoutMs: prepareTimeoutMs };
    const image = await prepareWithin(runtime, { version, bundle }, options);
    signal.throwIfAborted();
    await this.#say({
      step: "prepare",
      message: `prepared in ${Math.round(performance.now() - startedAt)} ms`,
    });
    if (running !== undefined)
      await serving.close(version.model, version.version, version.settings.batchTimeoutMs);
    if (!isDescribed(version.manifest)) return this.#openForeign(image);
    const served = serving.open(version, bundle, image);
    this.#undo.push(() => this.#closeAgain(version));
    return served;
  }

  /** What a server that is not ours speaks, and often its contract, is only known once one runs: it becomes the first replica. */
  async #openForeign(image: string): Promise<ServedVersion> {
    const { serving } = this.#parts;
    const { bundle } = this.#plan;
    await this.#sayStart();
    const startedAt = performance.now();
    const found = await describeVersion(this.#parts, this.#plan, image);
    const version = { ...this.#plan.version, manifest: found.manifest };
    this.#plan = { ...this.#plan, version, publication: { ...this.#plan.publication, version } };
    const served = serving.open(version, bundle, image);
    this.#undo.push(() => this.#closeAgain(version));
    await unlessAborted(served.adopt(found.running), this.#parts.signal);
    await this.#sayReady(found.running.id, startedAt);
    for (const message of found.notes) await this.#say({ step: "ready", message });
    return served;
  }

  #prepareReport(): (message: string, details?: Remark["details"]) => void {
    let lines = 0;
    return (message, details) => {
      lines++;
      if (lines > MAX_PREPARE_LINES) return;
      const text = lines === MAX_PREPARE_LINES ? "further lines are left out" : message;
      const { journal } = this.#parts;
      journal
        .say({ step: "prepare", message: text, ...(details === undefined ? {} : { details }) })
        .catch((error: unknown) => {
          this.#parts.log.warn({ err: error }, "an event of a deployment could not be stored");
        });
    };
  }

  async #startFirst(served: ServedVersion): Promise<void> {
    await this.#sayStart();
    const startedAt = performance.now();
    const replica = await served.startReplica(this.#parts.signal);
    await this.#sayReady(replica.id, startedAt);
  }

  async #sayStart(): Promise<void> {
    const { settings, manifest } = this.#plan.version;
    const what = needsRuntime(manifest) ? "starting a replica" : "asking the server";
    await this.#say({
      step: "start",
      message: `${what}, which has ${settings.readyTimeoutMs} ms to become ready`,
    });
  }

  async #sayReady(replica: string, startedAt: number): Promise<void> {
    const tookMs = Math.round(performance.now() - startedAt);
    const whose = hasContract(this.#plan.bundle.manifest) ? "of its bundle" : "that it declares";
    await this.#say({
      step: "ready",
      message: `replica ${replica} is ready after ${tookMs} ms, with the contract ${whose}`,
      details: { replica, tookMs },
    });
  }

  /** Until it has the replicas it should have: the current version may be scaled meanwhile. */
  async #scale(served: ServedVersion): Promise<void> {
    let started = Math.max(1, served.readyCount);
    for (let count = this.#replicasNow(); count > started; count = this.#replicasNow()) {
      started = count;
      await this.#say({ step: "scale", message: `starting replicas up to ${count}` });
      await unlessAborted(served.scale(count), this.#parts.signal);
      await this.#say({ step: "scale", message: `${count} replicas are ready` });
    }
  }

  /** How many the version is to have, as of now. */
  #replicasNow(): number {
    const { version, former, publication } = this.#plan;
    const current =
      former === undefined
        ? undefined
        : this.#parts.registry.findVersion(version.model, former.version)?.desiredReplicas;
    return publication.keepsReplicas === true && current !== undefined ? current : version.desiredReplicas;
  }

  /**
   * The one commit that callers see: before it the former version serves, after it this one. It ends the deployment's
   * record too, so that a server that is killed knows after its restart what had happened.
   */
  async #switch(deployment: Deployment): Promise<void> {
    const { version } = this.#plan;
    const retired = this.#retired();
    const target = `model ${version.model} to version ${version.version}`;
    const from = retired === undefined ? "" : ` from version ${retired.version}`;
    await this.#say({ step: "switch", message: `switching ${target}${from}` });
    this.#parts.signal.throwIfAborted();
    this.#parts.beginSwitch();
    await this.#publish(deployment, "deployed");
  }

  async #publish(deployment: Deployment, result: "deployed" | "ready"): Promise<void> {
    const endedAt = new Date().toISOString();
    await this.#parts.registry.publish({
      ...this.#plan.publication,
      deployment: { ...deployment, state: "succeeded", result, endedAt },
    });
    this.#undo.length = 0;
  }

  /** In place of a switch: the version is recorded beside the one that serves, and goes on running. */
  async #leaveReady(deployment: Deployment, served: ServedVersion | undefined): Promise<void> {
    const { version, former } = this.#plan;
    const { model } = version;
    this.#parts.signal.throwIfAborted();
    await this.#publish(deployment, "ready");
    if (!connectsByItself(version.manifest)) await this.#settleReplicas(served);
    const isStopped = this.#parts.serving.find(model, version.version) === undefined;
    const what = isStopped ? "has passed and is stopped, with 0 replicas" : "is ready";
    await this.#tell({
      step: "done",
      message: `version ${version.version} of model ${model} ${what}; version ${former?.version} goes on serving`,
    });
  }

  /** The version serves: nothing from here on may fail the deployment. */
  async #afterSwitch(served: ServedVersion | undefined): Promise<void> {
    const { version, application } = this.#plan;
    const { model } = version;
    const callers = application === undefined ? "" : `, for application ${application.name}`;
    await this.#tell({
      step: "switch",
      message: `version ${version.version} serves model ${model}${callers}`,
    });
    if (!connectsByItself(version.manifest)) await this.#settleReplicas(served);
    const retired = this.#retired();
    if (retired !== undefined && !connectsByItself(retired.manifest)) await this.#drain(retired);
    await this.#tell({ step: "done", message: `model ${model} version ${version.version} is deployed` });
  }

  /** As many as the version has by now: it may have been scaled during the deployment. */
  async #settleReplicas(served: ServedVersion | undefined): Promise<void> {
    const { model, version } = this.#plan.version;
    const count = this.#parts.registry.version(model, version).desiredReplicas;
    const running = served?.replicas().length ?? count;
    if (served !== undefined && running !== count) {
      const how = running > count ? "stopping replicas down" : "starting replicas up";
      await this.#tell({ step: "scale", message: `${how} to ${count}` });
      await this.#attempt(served.scale(count));
    }
    if (count === 0 && !this.#plan.publication.takesOver) {
      await this.#tell({
        step: "scale",
        message: "it is to have no replica, and stops until it is switched to",
      });
      await this.#attempt(
        this.#parts.serving.close(model, version, this.#plan.version.settings.batchTimeoutMs),
      );
    } else if (count === 0) {
      const message = `model ${model} is scaled to 0 replicas: queries get no prediction until it is scaled up`;
      await this.#tell({ step: "scale", level: "warning", message });
    }
  }

  async #drain({ model, version, settings }: Version): Promise<void> {
    await this.#tell({ step: "drain", message: `draining version ${version}` });
    const hasStopped = await this.#attempt(
      this.#parts.serving.close(model, version, settings.batchTimeoutMs),
    );
    const message = hasStopped
      ? `version ${version} has stopped`
      : `version ${version} still drains; the server closes, which ends it`;
    await this.#tell({ step: "drain", message });
  }

  /** The version that makes room. */
  #retired(): Version | undefined {
    const { former, version } = this.#plan;
    return former === undefined || former.version === version.version ? undefined : former;
  }

  #say(remark: Remark): Promise<void> {
    this.#step = remark.step;
    return this.#parts.journal.say(remark);
  }

  async #tell(remark: Remark): Promise<void> {
    // Not given up when the server closes: the record of the deployment is to be whole.
    await this.#say(remark).catch((error: unknown) => {
      this.#parts.log.warn({ err: error }, "an event of a deployment could not be stored");
    });
  }

  /** Whether the work was done; a server that closes goes on without it. */
  async #attempt(work: Promise<void>): Promise<boolean> {
    const { closing, log } = this.#parts;
    try {
      await unlessAborted(work, closing);
      return true;
    } catch (error) {
      if (!closing.aborted) log.warn({ err: error }, "a step behind the switch of a deployment failed");
      return false;
    }
  }
}
