// One run of `windjammer deploy`: finds out what the model is, deploys it or tries it, and reports.
import type { Manifest } from "../../../containers/protocol.ts";
import type { DeployedApplication, Windjammer } from "../../client/interface.ts";
import { InvalidOptionsError } from "../../errors.ts";
import type { Deployment, Version } from "../../types.ts";
import type { DeployFlags } from "../deploy.ts";
import { fields, Output } from "../output.ts";
import { currentVersion } from "../served.ts";
import { withServer } from "../server.ts";
import { curlLine } from "./curl-line.ts";
import { dryRun } from "./dry-run.ts";
import { optionsOf } from "./flags.ts";
import { alreadyMade, bundleModel, findModel, type FoundModel, versionFor } from "./model.ts";
import { Stages } from "./stages.ts";
import { watch } from "./watch.ts";

/** What became of one deployment. */
interface Outcome {
  readonly deployment: Deployment;
  /** Of the application; empty without one. */
  readonly url: string;
  /** The version that serves: another one, after a deployment without a switch. */
  readonly current: string;
  /** That it is to have; without any it answers nothing. */
  readonly replicas: number;
  /** Asks it; undefined where nothing would answer. */
  readonly curl: string | undefined;
}

/** @throws what is wrong with the model or its options, and what a deployment throws */
export async function deploy(target: string, flags: DeployFlags, signal: AbortSignal): Promise<void> {
  const output = new Output(flags);
  const find = async (): Promise<FoundModel> =>
    findModel({
      target,
      as: flags.as,
      options: { ...(await optionsOf(flags)), ...(flags.switch ? {} : { switch: false }) },
    });
  const model = await find();
  output.note(`${target} is ${model.recognized.what}; deploying it as ${model.name}`);
  if (flags.dryRun === true) {
    await dryRun(model, { output, signal, runtime: flags.runtime, verbose: flags.verbose });
    return;
  }
  await withServer(flags, async (wj) => {
    await checkRuntime(wj, flags.runtime);
    if (!flags.switch) await checkServes(wj, model.name);
    if (flags.watch !== true) {
      await deployOnce(wj, model, { output, flags, signal });
      return;
    }
    await watch(model, {
      output,
      signal,
      deploy: async (isNew) => deployOnce(wj, await find(), { output, flags, signal, isNew }),
    });
  });
}

async function checkRuntime(wj: Windjammer, wanted: string | undefined): Promise<void> {
  if (wanted === undefined) return;
  const { runtime } = await wj.info();
  if (runtime === wanted) return;
  throw new InvalidOptionsError(
    `--runtime ${wanted}: the server at ${wj.adminUrl} runs models by its ${runtime} runtime; start one with windjammer start --runtime ${wanted}, and name it by --url`,
    { details: { option: "runtime", runtime } },
  );
}

interface Context {
  readonly output: Output;
  readonly flags: DeployFlags;
  readonly signal: AbortSignal;
  /** Asked once the content and its settings are known; false: there is nothing to do. */
  readonly isNew?: (content: string) => boolean;
}

async function deployOnce(
  wj: Windjammer,
  model: FoundModel,
  { output, flags, signal, isNew }: Context,
): Promise<void> {
  using stages = new Stages(output, flags);
  const onAbort = (): void => output.note("cancelling; what served before goes on serving");
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await using bundle = await bundleModel(model, stages.bundling);
    const { request } = model.checked;
    if (isNew?.(`${bundle.hash} ${JSON.stringify(request)}`) === false) return;
    const version = await versionFor(wj, model, bundle.hash);
    const deployed = await wj.deploy(alreadyMade(bundle, model), {
      ...model.checked.own,
      ...request,
      version,
      onEvent: stages.event,
      signal,
    });
    stages.end();
    const record = (await wj.versions(model.name)).find((each) => each.version === version);
    const current = flags.switch ? version : await currentVersion(wj, model.name);
    const outcome = outcomeOf(deployed, { record, manifest: bundle.manifest, current });
    const value = report(outcome, stages);
    const text = (): string => summary(outcome);
    if (flags.watch === true) output.item(value, text);
    else output.result(value, text);
  } catch (error) {
    stages.fail();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Before anything is bundled. @throws InvalidOptionsError */
async function checkServes(wj: Windjammer, model: string): Promise<void> {
  if ((await currentVersion(wj, model)) !== "") return;
  throw new InvalidOptionsError(
    `--no-switch: model ${model} has no version that serves yet; leave it out the first time`,
    { details: { option: "switch", model } },
  );
}

interface Found {
  /** As the server has it; undefined: it was removed meanwhile. */
  readonly record: Version | undefined;
  readonly manifest: Manifest;
  readonly current: string;
}

function outcomeOf({ deployment, url }: DeployedApplication, { record, manifest, current }: Found): Outcome {
  const { version } = deployment;
  const replicas = record?.desiredReplicas ?? 0;
  const example = record?.settings.examples[0]?.input;
  const asked = { example, version: current === version ? undefined : version };
  const curl = url === "" || replicas === 0 ? undefined : curlLine(url, record?.manifest ?? manifest, asked);
  return { deployment, url, current, replicas, curl };
}

function report({ deployment, url, current, replicas, curl }: Outcome, stages: Stages): object {
  const { id, model, version, application, bundle, result } = deployment;
  const { reports, warnings } = stages;
  const endpoint = url === "" ? {} : { application, url, curl };
  const made = { model, version, current, result, replicas, ...endpoint, bundle, deployment: id };
  return { ...made, stages: reports, warnings };
}

function summary({ deployment, url, current, replicas, curl }: Outcome): string {
  const { model, version, result } = deployment;
  if (current !== version) {
    const what = replicas === 0 ? "is deployed and stopped: it has 0 replicas" : "is ready";
    return [
      `${model} version ${version} ${what}; version ${current} goes on serving`,
      fields([
        ["ask it", curl],
        ["start it", replicas === 0 ? `windjammer scale ${model} 1 --version ${version}` : undefined],
        ["switch to it", `windjammer rollback ${model} ${version}`],
      ]),
    ].join("\n");
  }
  const how = result === "unchanged" ? "serves already, unchanged" : "serves";
  return [
    `${model} version ${version} ${replicas === 0 ? "is deployed and answers nothing: it has 0 replicas" : how}`,
    url === ""
      ? "no application takes its queries; windjammer link APPLICATION MODEL gives it one"
      : fields([
          ["URL", url],
          ["start it", replicas === 0 ? `windjammer scale ${model} 1` : undefined],
          ["try it", curl],
        ]),
  ].join("\n");
}
