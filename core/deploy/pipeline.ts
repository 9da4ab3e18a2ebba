// One deployment, top to bottom: prepare, start, gate, switch, drain; what it did is undone when a step fails.
import type { Log } from "../log.ts";
import type { Serving } from "../query/serving.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Registry } from "../registry/registry.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { Deployment, DeploymentStep, Version } from "../types.ts";
import { unlessAborted } from "./abort.ts";
import { runGate } from "./gate.ts";
import type { Journal, Remark } from "./journal.ts";
import type { Plan } from "./plan.ts";
import { changedRunSettings } from "./settings.ts";

/** More lines of one preparation are left out of the events. */
const MAX_PREPARE_LINES = 1000;

export interface PipelineParts {
  readonly registry: Registry;
  readonly runtime: Runtime;
  readonly serving: Serving;
  readonly log: Log;
  readonly journal: Journal;
  readonly signal: AbortSignal;
  /** Resolves when a version that was being reopened after a restart is open, or could not be opened. */
  readonly reopened: (version: Version) => Promise<void>;
  /** Opens a version again in the background, as it was. */
  readonly reopen: (version: Version) => void;
}

/** Runs one plan. */
export class Pipeline {
  readonly #parts: PipelineParts;
  readonly #plan: Plan;
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

  /** Resolves when the version serves. @throws what went wrong, before anything has been switched: call `undo` then */
  async run(deployment: Deployment): Promise<Exclude<Deployment["result"], undefined>> {
    await this.#check(deployment);
    if (this.#plan.kind === "unchanged") return "unchanged";
    await (this.#plan.kind === "settings" ? this.#changeSettings() : this.#rollOut());
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

  async #check(deployment: Deployment): Promise<void> {
    const { kind, former, version, bundle, application } = this.#plan;
    const { model } = version;
    const names = `model ${model} version ${version.version}`;
    if (kind === "unchanged") {
      await this.#say({
        step: "done",
        message: `${names} already serves this content with these settings; nothing to do`,
      });
      return;
    }
    const details = { deployment: deployment.id, model, version: version.version, bundle: bundle.hash };
    await this.#say({ step: "receive", message: `deploying ${names}`, details });
    const before =
      former === undefined
        ? "the first version of this model"
        : `version ${former.version} serves with ${replicas(former.desiredReplicas)}`;
    await this.#say({
      step: "check",
      message: `${before}; ${application === undefined ? "no application is changed" : `application ${application.name} will serve it`}`,
      // Read after a restart, to tell whether the switch had happened.
      details: {
        former: former?.version ?? null,
        application: application?.name ?? null,
        replicas: version.desiredReplicas,
      },
    });
    const { loader, deployer } = bundle.manifest;
    await this.#say({
      step: "store",
      message: `bundle ${bundle.hash.slice(0, 12)} is stored (made by ${deployer}, loader ${loader})`,
    });
  }

  /** All replicas are ready before the switch, so that capacity never dips; for that while both versions run. */
  async #rollOut(): Promise<void> {
    const { version } = this.#plan;
    const served = await this.#open();
    await this.#startFirst(served);
    const { signal } = this.#parts;
    await runGate({ served, settings: version.settings, signal, say: (remark) => this.#say(remark) });
    if (version.desiredReplicas > 1) await this.#scale(served);
    await this.#switch();
    await this.#afterSwitch(served);
  }

  async #changeSettings(): Promise<void> {
    const { version, existing } = this.#plan;
    const served = this.#parts.serving.find(version.model, version.version);
    if (served !== undefined && existing !== undefined) {
      const { signal } = this.#parts;
      if (served.readyCount > 0)
        await runGate({ served, settings: version.settings, signal, say: (remark) => this.#say(remark) });
      if (version.desiredReplicas > existing.desiredReplicas) {
        this.#undo.push(() => served.scale(existing.desiredReplicas));
        await this.#scale(served);
      }
    }
    await this.#switch();
    await this.#afterSwitch(served);
  }

  /** The version, open; one that runs already with the same settings is taken as it is. */
  async #open(): Promise<ServedVersion> {
    const { runtime, serving, signal, reopened, reopen } = this.#parts;
    const { version, existing, bundle } = this.#plan;
    if (existing !== undefined) await unlessAborted(reopened(existing), signal);
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
        message: `${replicas(running.readyCount)} of version ${version.version} run already`,
      });
      return running;
    }
    await this.#say({ step: "prepare", message: `preparing it for the ${runtime.name} runtime` });
    const startedAt = performance.now();
    const image = await runtime.prepare(bundle, {
      model: version.model,
      version: version.version,
      report: this.#prepareReport(),
      signal,
    });
    signal.throwIfAborted();
    await this.#say({
      step: "prepare",
      message: `prepared in ${Math.round(performance.now() - startedAt)} ms`,
    });
    if (running !== undefined) {
      await serving.close(version.model, version.version, version.settings.batchTimeoutMs);
      if (existing !== undefined && existing.desiredReplicas > 0)
        this.#undo.push(async () => reopen(existing));
    }
    const served = serving.open(version, bundle, image);
    this.#undo.push(() => serving.close(version.model, version.version, 0));
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
    if (served.readyCount > 0) return;
    const { readyTimeoutMs } = this.#plan.version.settings;
    await this.#say({
      step: "start",
      message: `starting a replica, which has ${readyTimeoutMs} ms to become ready`,
    });
    const startedAt = performance.now();
    const replica = await served.startReplica(this.#parts.signal);
    const tookMs = Math.round(performance.now() - startedAt);
    await this.#say({
      step: "ready",
      message: `replica ${replica.id} is ready after ${tookMs} ms, with the contract of its bundle`,
      details: { replica: replica.id, tookMs },
    });
  }

  async #scale(served: ServedVersion): Promise<void> {
    const { desiredReplicas } = this.#plan.version;
    await this.#say({ step: "scale", message: `starting replicas up to ${desiredReplicas}` });
    await unlessAborted(served.scale(desiredReplicas), this.#parts.signal);
    await this.#say({ step: "scale", message: `${desiredReplicas} replicas are ready` });
  }

  /** The one commit that callers see: before it the former version serves, after it this one. */
  async #switch(): Promise<void> {
    const { version, application } = this.#plan;
    const retired = this.#retired();
    const target = `model ${version.model} to version ${version.version}`;
    const from = retired === undefined ? "" : ` from version ${retired.version}`;
    await this.#say({ step: "switch", message: `switching ${target}${from}` });
    this.#parts.signal.throwIfAborted();
    await this.#parts.registry.publish({
      version,
      ...(application === undefined ? {} : { application }),
      retire: retired !== undefined,
    });
    this.#undo.length = 0;
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
    if (served !== undefined && served.replicas().length > version.desiredReplicas) {
      await this.#tell({ step: "scale", message: `stopping replicas down to ${version.desiredReplicas}` });
      await this.#attempt(served.scale(version.desiredReplicas));
    }
    if (version.desiredReplicas === 0) {
      const message = `model ${model} is scaled to 0 replicas: queries get no prediction until it is scaled up`;
      await this.#tell({ step: "scale", level: "warning", message });
    }
    const retired = this.#retired();
    if (retired !== undefined) {
      await this.#tell({ step: "drain", message: `draining version ${retired.version}` });
      await this.#attempt(this.#parts.serving.close(model, retired.version, retired.settings.batchTimeoutMs));
      await this.#tell({ step: "drain", message: `version ${retired.version} has stopped` });
    }
    await this.#tell({ step: "done", message: `model ${model} version ${version.version} is deployed` });
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
    const { signal, log } = this.#parts;
    try {
      await unlessAborted(work, signal);
      return true;
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "a step behind the switch of a deployment failed");
      return false;
    }
  }
}

function replicas(count: number): string {
  return count === 1 ? "1 replica" : `${count} replicas`;
}
