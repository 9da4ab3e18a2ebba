// How what a deployer deploys serves: on a running Windjammer, with real model containers.
import assert from "node:assert/strict";
import type {
  ApplicationHandle,
  DeployedApplication,
  DeployOptions,
  Windjammer,
} from "../client/interface.ts";
import { InvalidInputError, ModelError, VersionExistsError, WindjammerError } from "../errors.ts";
import { processRuntime } from "../runtimes/process/index.ts";
import { windjammer } from "../windjammer.ts";
import { mentions } from "./bundles.ts";
import { check, thrownBy, type Check, type MakeFolder, type ServedCase } from "./case.ts";

const BATCH = 50;

/** Checks that run in this order, each once; the last one closes what the first one started. */
export interface ServingChecks extends AsyncDisposable {
  readonly checks: readonly Check[];
  /** For when they did not all run. */
  readonly close: () => Promise<void>;
}

/** Checks of a deployment, from its gate to its end, on a server of their own. */
export function servingChecks<Options extends object>(test: ServedCase<Options>): ServingChecks {
  const served = new Served(test);
  const checks = [
    check("it starts from one deployment, with its examples as the gate", (folder) => served.starts(folder)),
    check("it answers one query, and a list in order", () => served.answers()),
    check("it answers a plain HTTP request", () => served.answersHttp()),
    check("it refuses an input that does not fit, and says where", () => served.refuses()),
    check("it fails on an input that the model throws on, and on that one alone", () => served.failsAlone()),
    check("it is unchanged by the same content, and keeps a version from other content", (folder) =>
      served.isImmutable(folder),
    ),
    check("a new version is ready before it is switched to, and back", (folder) => served.changes(folder)),
    check("it is gone after close, with its processes", () => served.isGone()),
  ];
  const close = (): Promise<void> => served.close();
  return { checks, close, [Symbol.asyncDispose]: close };
}

class Served<Options extends object> {
  readonly #test: ServedCase<Options>;
  readonly #name: string;
  #wj: Windjammer | undefined;
  #handle: ApplicationHandle | undefined;

  constructor(test: ServedCase<Options>) {
    this.#test = test;
    this.#name = `served-${test.deployer.name}`;
  }

  async starts(makeFolder: MakeFolder): Promise<void> {
    const { inputs, outputs, packagesFrom } = this.#test;
    const runtime = packagesFrom === undefined ? undefined : processRuntime({ packagesFrom });
    this.#wj = await windjammer({ port: 0, adminPort: 0, runtime });
    const examples = inputs.map((input, index) => ({ input, output: outputs.first[index] ?? null }));
    const deployed = await this.#deploy("first", { version: "1", examples }, makeFolder);
    this.#handle = deployed;
    const { state, result, version } = deployed.deployment;
    assert.deepEqual({ state, result, version }, { state: "succeeded", result: "deployed", version: "1" });
  }

  async answers(): Promise<void> {
    const { inputs, outputs } = this.#test;
    for (const [index, input] of inputs.entries())
      assert.deepEqual(await this.#app.predict(input), outputs.first[index]);
    const many = Array.from({ length: BATCH }, (_, index) => index % inputs.length);
    const answers = await this.#app.predictBatch(many.map((index) => inputs[index] ?? null));
    assert.deepEqual(
      answers,
      many.map((index) => outputs.first[index]),
    );
  }

  async answersHttp(): Promise<void> {
    const response = await fetch(this.#app.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: this.#test.inputs[0] }),
    });
    assert.equal(response.status, 200);
    const { output, default: isDefault } = (await response.json()) as Record<string, unknown>;
    assert.deepEqual({ output, isDefault }, { output: this.#test.outputs.first[0], isDefault: false });
  }

  async refuses(): Promise<void> {
    const { input, message } = this.#test.badInput;
    const error = await thrownBy(this.#app.predict(input), "an input that does not fit");
    assert.ok(error instanceof InvalidInputError, `expected INVALID_INPUT, got ${String(error)}`);
    mentions(error, message);
  }

  async failsAlone(): Promise<void> {
    const { inputs, outputs, failing } = this.#test;
    const batch = [inputs[0] ?? null, failing.input, inputs[1] ?? null];
    const [before, failed, after] = await this.#app.predictDetailed(batch);
    assert.deepEqual(outputOf(before), outputs.first[0]);
    assert.deepEqual(outputOf(after), outputs.first[1]);
    assert.ok(failed !== undefined && "error" in failed, "expected an error in its place");
    assert.ok(failed.error instanceof ModelError, `expected MODEL_ERROR, got ${String(failed.error)}`);
    mentions(failed.error, failing.message);
  }

  async isImmutable(makeFolder: MakeFolder): Promise<void> {
    const { inputs, outputs } = this.#test;
    const again = await this.#deploy("first", { version: "1" }, makeFolder);
    assert.equal(again.deployment.result, "unchanged");
    const error = await thrownBy(
      this.#deploy("second", { version: "1" }, makeFolder),
      "other content of the same version",
    );
    assert.ok(error instanceof VersionExistsError, `expected VERSION_EXISTS, got ${String(error)}`);
    assert.deepEqual(await this.#app.predict(inputs[0] ?? null), outputs.first[0]);
  }

  async changes(makeFolder: MakeFolder): Promise<void> {
    const { inputs, outputs } = this.#test;
    const beside = await this.#deploy("second", { version: "2", switch: false }, makeFolder);
    assert.equal(beside.deployment.result, "ready");
    assert.deepEqual(await beside.predictBatch(inputs), outputs.second);
    assert.deepEqual(await this.#app.predictBatch(inputs), outputs.first);
    await this.#running.setVersion(this.#name, "2");
    assert.deepEqual(await this.#app.predictBatch(inputs), outputs.second);
    await this.#running.setVersion(this.#name, "1");
    assert.deepEqual(await this.#app.predictBatch(inputs), outputs.first);
  }

  async isGone(): Promise<void> {
    const replicas = await this.#running.replicas();
    const pids = replicas.map(({ handle }) => Number(handle)).filter((pid) => pid > 0);
    await this.close();
    const error = await thrownBy(this.#app.predict(this.#test.inputs[0] ?? null), "a closed application");
    assert.ok(error instanceof WindjammerError, `expected an error of windjammer, got ${String(error)}`);
    assert.notEqual(pids.length, 0, "expected a replica that runs as a process");
    for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  }

  async close(): Promise<void> {
    await this.#wj?.close();
  }

  async #deploy(
    content: "first" | "second",
    more: Omit<DeployOptions, "name">,
    makeFolder: MakeFolder,
  ): Promise<DeployedApplication> {
    const options = await this.#test.write(await makeFolder(), content);
    return this.#running.deploy(this.#test.deployer, { name: this.#name, ...more, ...options });
  }

  get #running(): Windjammer {
    assert.ok(this.#wj !== undefined, "the first check has to run before this one");
    return this.#wj;
  }

  get #app(): ApplicationHandle {
    assert.ok(this.#handle !== undefined, "nothing was deployed: see the first check");
    return this.#handle;
  }
}

function outputOf(prediction: object | undefined): unknown {
  return prediction !== undefined && "output" in prediction ? prediction.output : prediction;
}
