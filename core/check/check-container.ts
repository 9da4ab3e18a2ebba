// Tries a model container as Windjammer will use it: starts it, asks it, runs the checks, stops it.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { modelAtServer, PATHS, type ContainerSource, type Manifest } from "../../containers/protocol.ts";
import { DECLARED_CONTRACT, hasContract, manifest } from "../deploy/deployer.ts";
import { checkRuns } from "../deploy/container-kind.ts";
import { describeServer } from "../replicas/foreign.ts";
import { becomeReadyByAnyName } from "../replicas/readiness.ts";
import { needsRuntime, replicaSource } from "../replicas/source.ts";
import { transportTo } from "../replicas/transport.ts";
import type { Report, RunningReplica, Runtime } from "../runtimes/runtime.ts";
import type { BundleFolder } from "../types.ts";
import { unlessAborted } from "../wait.ts";
import { whyUnreachable } from "./reach.ts";
import { BASIC_CHECK, CHECKS, NEED_ANSWERS, type Subject, type Verdict } from "./checks.ts";
import type { CheckReport, CheckResult } from "./report.ts";

const VERSION = "1";

export interface CheckTarget {
  /** As the user named it. */
  readonly shown: string;
  readonly source: ContainerSource;
  /** Working folder of a command, build context of a Dockerfile. */
  readonly folder: string;
  /** Starts it, if that is for us to do. */
  readonly runtime: Runtime;
}

export interface CheckSettings {
  /** What the container is told that its model is called. */
  readonly model: string;
  readonly readyTimeoutMs: number;
  /** False: a URL where nobody listens has failed at once. Default true: its server may still be starting. */
  readonly waitsForServer?: boolean;
  /** Calls of the memory check. */
  readonly calls: number;
  readonly report: Report;
  /** Aborted: what was started is stopped, and the check rejects with its reason. */
  readonly signal?: AbortSignal;
  readonly contract?: Manifest["contract"];
}

/** @throws what keeps the runtime from working at all, and the reason of an aborted signal; all that concerns the container is in the report */
export async function checkContainer(target: CheckTarget, settings: CheckSettings): Promise<CheckReport> {
  const root = await mkdtemp(join(tmpdir(), "wj-check-"));
  const { runtime, source } = target;
  const content = manifest({
    deployer: "check",
    loader: source.kind,
    container: source,
    inputType: "tensor",
    contract: settings.contract ?? DECLARED_CONTRACT,
  });
  const isOurs = needsRuntime(content);
  try {
    checkRuns(runtime, content);
    if (isOurs) {
      const folders = { runDir: join(root, "run"), cacheDir: join(root, "cache") };
      await runtime.open({ ...folders, owner: "check-container" });
    }
    // Never that of another check: what is made of it must be made anew.
    const hash = randomBytes(32).toString("hex");
    const bundle = { hash, root, files: target.folder, manifest: content };
    const checks = await new Attempt(target, settings, bundle).run().finally(async () => {
      if (isOurs) await runtime.forget?.(hash);
    });
    const isFit = checks.every(({ outcome }) => outcome !== "fail");
    return { target: target.shown, isFit, checks };
  } finally {
    if (isOurs) await runtime.close();
    await rm(root, { recursive: true, force: true });
  }
}

/** One container from its start to its end. */
class Attempt {
  readonly #target: CheckTarget;
  readonly #settings: CheckSettings;
  readonly #bundle: BundleFolder;
  readonly #signal: AbortSignal;
  readonly #results: CheckResult[] = [];

  constructor(target: CheckTarget, settings: CheckSettings, bundle: BundleFolder) {
    this.#target = target;
    this.#settings = settings;
    this.#signal = settings.signal ?? new AbortController().signal;
    this.#bundle = bundle;
  }

  async run(): Promise<readonly CheckResult[]> {
    const running = await this.#note("starts", "a container that can be started", () => this.#start());
    if (running === undefined) return this.#results;
    const expected = `GET ${PATHS.ready} with status 200 within ${this.#settings.readyTimeoutMs} ms`;
    const transport = transportTo(running.address);
    try {
      const subject = await this.#note("ready in time", expected, () => this.#ready(running, transport));
      if (subject !== undefined) await this.#checks(subject);
    } finally {
      await transport.close();
      await running.stop(0);
    }
    return this.#results;
  }

  async #start(): Promise<readonly [RunningReplica, string]> {
    const { runtime, source } = this.#target;
    const { model, report } = this.#settings;
    const signal = this.#signal;
    const { manifest: content } = this.#bundle;
    const isThere = source.kind !== "url" || (await this.#isReachable(source.urls));
    const image = needsRuntime(content)
      ? await runtime.prepare(this.#bundle, { report, signal, model, version: VERSION })
      : "elsewhere";
    const spec = {
      id: `${model}-${VERSION}-r1`,
      model,
      version: VERSION,
      image,
      bundle: this.#bundle,
      limits: { cpus: 1 },
    };
    const running = await replicaSource(content, runtime).start(spec);
    const what = source.kind === "command" ? `process ${running.handle}` : running.handle;
    return [
      running,
      needsRuntime(content) ? `started as ${what}` : `${isThere ? "reached at" : "waited for at"} ${what}`,
    ];
  }

  /** @throws Error when nobody listens there, unless that may still come */
  async #isReachable([url = ""]: readonly string[]): Promise<boolean> {
    const why = await whyUnreachable(url, this.#signal);
    if (why === undefined) return true;
    const { waitsForServer, readyTimeoutMs, report } = this.#settings;
    if (waitsForServer === false)
      throw new Error(
        `nothing listens at ${url} (${why}); start the server first, or wait for it with --ready-timeout MS`,
      );
    report(`nothing listens at ${url} yet (${why}); waiting up to ${readyTimeoutMs} ms`);
    return false;
  }

  async #ready(
    running: RunningReplica,
    transport: Subject["transport"],
  ): Promise<readonly [Subject, string]> {
    const { readyTimeoutMs: timeoutMs, model, calls, contract: given } = this.#settings;
    const { manifest: content } = this.#bundle;
    const startedAt = performance.now();
    const options = { manifest: content, timeoutMs, signal: this.#signal };
    const name = (await becomeReadyByAnyName(running, transport, options)) ?? model;
    const tookMs = Math.round(performance.now() - startedAt);
    const at = { ...modelAtServer(this.#target.source, model), name };
    const { contract = given, tensors } = await describeServer(transport, at);
    const known = given ?? contract;
    const subject: Subject = {
      running,
      transport,
      connect: () => transportTo(running.address),
      manifest: { ...content, ...(known === undefined ? {} : { contract: known }) },
      contract: known,
      isBinary: tensors === "binary",
      path: PATHS.infer(at.name, at.version),
      isElsewhere: !needsRuntime(content),
      calls,
    };
    const asWhat = name === model ? "" : `; its name for the model is ${name}`;
    return [subject, `ready after ${tookMs} ms${asWhat}`];
  }

  async #checks(subject: Subject): Promise<void> {
    for (const { name, expected, run } of CHECKS) {
      const needsInput = name !== "live" && name !== "metadata";
      if (needsInput && !hasContract(subject.manifest)) {
        this.#results.push({ name, outcome: "skip", expected, got: "no inputs are known; name a contract" });
        continue;
      }
      const isBroken = this.#results.some(
        (result) => result.name === BASIC_CHECK && result.outcome === "fail",
      );
      if (isBroken && NEED_ANSWERS.has(name)) {
        this.#results.push({
          name,
          outcome: "skip",
          expected,
          got: `${BASIC_CHECK} failed; mend that first`,
        });
        continue;
      }
      const verdict = await unlessAborted(run(subject), this.#signal).catch((error: unknown): Verdict => {
        this.#signal.throwIfAborted();
        return { outcome: "fail", got: messageOf(error) };
      });
      this.#results.push({ name, expected, ...verdict });
    }
  }

  /** What a step gives; undefined when it failed, which is noted. */
  async #note<T>(
    name: string,
    expected: string,
    step: () => Promise<readonly [T, string]>,
  ): Promise<T | undefined> {
    try {
      const [value, got] = await step();
      this.#results.push({ name, outcome: "ok", expected, got });
      return value;
    } catch (error) {
      this.#signal.throwIfAborted();
      this.#results.push({ name, outcome: "fail", expected, got: messageOf(error) });
      return undefined;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
