// `windjammer describe`: all that is known of one application or model: contract, learned batch curve, replicas, errors.
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import type { TensorSpec } from "../../containers/protocol.ts";
import type { ReplicaStats, VersionDetail, Windjammer } from "../client/interface.ts";
import { ModelNotFoundError, type NoModelLinkedError, ReplicaNotFoundError } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import type { Application, Deployment, ReplicaStatus } from "../types.ts";
import { type Cell, fields, oneLine, Output, paint, table } from "./output.ts";
import { noModel } from "./served.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { agoText, bytesText, durationText, percentText } from "./units.ts";

/** Over which the CPU share of a replica is taken. */
const CPU_SPAN_MS = 250;
const SHOWN_FAILURES = 3;

interface DescribedReplica extends ReplicaStatus {
  readonly memoryBytes?: number;
  readonly cpuMs?: number;
  /** Of one CPU, 0 to 1 and more. */
  readonly cpuShare?: number;
}

interface Description {
  readonly model: string;
  readonly isCurrent: boolean;
  readonly version: VersionDetail;
  readonly applications: readonly Application[];
  readonly replicas: readonly DescribedReplica[];
  /** Failed deployments of the model, newest first. */
  readonly failures: readonly Deployment[];
}

export function describeCommand(): Command {
  return serverCommand(
    "describe",
    "all about an application or a model: contract, learned curve, replicas, errors",
  )
    .argument("<target>", "name of a model or an application")
    .argument("[version]", "a version of it (default: the current one)")
    .action(async (target: string, version: string | undefined, flags: ServerFlags) => {
      const output = new Output(flags);
      const description = await withServer(flags, (wj) => describe(wj, target, version));
      output.result(description, () => textOf(description));
    });
}

/** @throws ModelNotFoundError, NoModelLinkedError, VersionNotFoundError */
async function describe(wj: Windjammer, target: string, version: string | undefined): Promise<Description> {
  const [models, links, applications] = await Promise.all([wj.models(), wj.links(), wj.applications()]);
  const name = models.some((model) => model.name === target)
    ? target
    : links.find(({ application }) => application === target)?.model;
  const model = models.find((each) => each.name === name);
  if (model === undefined) {
    throw unknownTarget(
      target,
      models.map((each) => each.name),
      applications.map((each) => each.name),
    );
  }
  const detail = await wj.version(model.name, version ?? model.currentVersion);
  const deployments = await wj.deployments();
  return {
    model: model.name,
    isCurrent: detail.version === model.currentVersion,
    version: detail,
    applications: applications.filter((each) =>
      links.some((link) => link.model === model.name && link.application === each.name),
    ),
    replicas: await withStats(wj, detail.running?.replicas ?? []),
    failures: deployments
      .filter((each) => each.model === model.name && each.state === "failed")
      .slice(0, SHOWN_FAILURES),
  };
}

function unknownTarget(
  target: string,
  models: readonly string[],
  applications: readonly string[],
): ModelNotFoundError | NoModelLinkedError {
  if (applications.includes(target)) {
    return noModel(target);
  }
  const known = [...models, ...applications];
  return new ModelNotFoundError(
    `no model or application is named "${target}"; ${didYouMean(target, known, "windjammer models lists the models")}`,
    { details: { name: target } },
  );
}

async function withStats(
  wj: Windjammer,
  replicas: readonly ReplicaStatus[],
): Promise<readonly DescribedReplica[]> {
  const read = (): Promise<(ReplicaStats | undefined)[]> =>
    Promise.all(replicas.map(({ id }) => wj.stats(id).catch(ignoreGone)));
  const begun = performance.now();
  const before = await read();
  if (replicas.length > 0) await delay(CPU_SPAN_MS);
  const after = await read();
  const spanMs = performance.now() - begun;
  return replicas.map((replica, at) => {
    const [first, last] = [before[at], after[at]];
    if (first === undefined || last === undefined) return replica;
    return Object.assign(replica, last, { cpuShare: Math.max(0, (last.cpuMs - first.cpuMs) / spanMs) });
  });
}

/** It ended meanwhile, or is elsewhere, where nothing is known of its memory. */
function ignoreGone(error: unknown): undefined {
  if (error instanceof ReplicaNotFoundError) return undefined;
  throw error;
}

function textOf(description: Description): string {
  const { replicas, failures, version } = description;
  const errors = version.running?.errors ?? [];
  const sections = [
    facts(description),
    replicas.length === 0 ? paint("yellow", "no replicas run") : replicaTable(replicas),
    errors.length === 0
      ? "no errors lately"
      : [
          paint("red", "last errors"),
          ...errors.map(
            ({ count, code, message, at }) =>
              `  ${count} × ${code}, last ${agoText(at)}: ${oneLine(message)}`,
          ),
        ].join("\n"),
    ...(failures.length === 0
      ? []
      : [
          [
            paint("red", "failed deployments"),
            ...failures.map(
              ({ version: failed, startedAt, error }) =>
                `  ${failed}, ${agoText(startedAt)}: ${error?.code ?? ""} in step ${error?.step ?? ""}: ${oneLine(error?.message ?? "")}`,
            ),
          ].join("\n"),
        ]),
  ];
  return sections.join("\n\n");
}

function facts({ model, version: detail, isCurrent, applications }: Description): string {
  const { version, manifest, settings, running, createdAt, bundle } = detail;
  const { contract, inputType, loader, deployer } = manifest;
  const { limits } = settings;
  return fields([
    [
      "model",
      `${paint("bold", `${model} ${version}`)}${isCurrent ? ", current" : ""}, by ${deployer} (${loader}), ${agoText(createdAt)}`,
    ],
    ["applications", applications.length === 0 ? "none" : applications.map(applicationText).join("; ")],
    ["input type", inputType],
    ["inputs", contract.inputs.map(tensorText).join(", ") || "unknown"],
    ["outputs", contract.outputs.map(tensorText).join(", ") || "unknown"],
    [
      "a replica",
      `${limits.cpus} CPU${limits.memoryMb === undefined ? "" : `, at most ${limits.memoryMb} MiB`}`,
    ],
    ["batching", batchingText(detail)],
    ["learned curve", curveText(detail)],
    [
      "arrivals",
      running?.policy.arrivalRate === undefined
        ? undefined
        : `${running.policy.arrivalRate.toFixed(1)} a second, when the last ones came`,
    ],
    ["waiting", running === null ? undefined : `${running.queueLength} queries`],
    ["in flight", running === null ? undefined : inFlightText(running, settings)],
    ["trouble", running?.trouble === undefined ? undefined : paint("red", oneLine(running.trouble))],
    ["bundle", bundle],
  ]);
}

function applicationText({ name, latencyObjectiveMs, defaultOutput }: Application): string {
  const parts = [
    ...(latencyObjectiveMs === undefined ? [] : [`within ${durationText(latencyObjectiveMs)}`]),
    ...(defaultOutput === undefined ? [] : [`else ${JSON.stringify(defaultOutput)}`]),
  ];
  return parts.length === 0 ? name : `${name} (${parts.join(", ")})`;
}

function tensorText({ name, datatype, shape, contentType }: TensorSpec): string {
  const sizes = shape.map((size) => (size < 0 ? "any" : String(size)));
  return `${name} ${contentType ?? datatype}${sizes.length === 0 ? "" : ` [${sizes.join(", ")}]`}`;
}

function batchingText({ settings, running, manifest }: VersionDetail): string {
  if (!manifest.contract.isBatched) return "none: the model takes one query at a time";
  const { batching } = settings;
  if (batching.policy === "none") return "none";
  const now = running === null ? "" : `, now up to ${running.policy.maxBatchSize}`;
  const delayText = batching.policy === "fixed" ? `, waits ${batching.maxDelayMs} ms` : "";
  return `${batching.policy}, at most ${batching.maxBatchSize} queries${delayText}${now}`;
}

function inFlightText(
  { inFlight, maxInFlight }: NonNullable<VersionDetail["running"]>,
  settings: VersionDetail["settings"],
): string {
  const given = settings.maxInFlight ?? maxInFlight;
  const why = given === maxInFlight ? "" : `: each worker and the server send a part of maxInFlight ${given}`;
  return `${inFlight} ${inFlight === 1 ? "batch" : "batches"}, at most ${maxInFlight} a replica${why}`;
}

/** Fewer say little: the first is often a slow one, and a size alone tells no cost per query. */
const MEANINGFUL_BATCHES = 3;

/** Says what the curve means for some sizes, beside its two numbers. */
function curveText({ running, settings }: VersionDetail): string {
  const curve = running?.policy.curve;
  if (curve === undefined) return "none yet: it is learned from batches";
  const { fixedMs, perRowMs, batches } = curve;
  if (batches < MEANINGFUL_BATCHES) return `none yet: it is learned from batches, ${batches} so far`;
  const most = settings.batching.policy === "none" ? 1 : settings.batching.maxBatchSize;
  const sizes = [1, 16, most].filter((size, at, all) => size <= most && all.indexOf(size) === at);
  const examples = sizes.map((size) => `${size}: ${durationText(fixedMs + perRowMs * size)}`);
  return `${durationText(fixedMs)} + ${durationText(perRowMs)} a query (a batch of ${examples.join(", of ")}), learned from ${batches} batches`;
}

function replicaTable(replicas: readonly DescribedReplica[]): string {
  return table(
    ["REPLICA", "STATE", "HANDLE", "UP", "MEMORY", "CPU", "RESTARTS", "LAST EXIT"],
    replicas.map(({ id, state, ejectedFor, handle, startedAt, memoryBytes, cpuShare, ...past }): Cell[] => [
      id,
      ejectedFor === undefined
        ? { text: state, style: state === "ready" ? "green" : "yellow" }
        : { text: `ejected: ${oneLine(ejectedFor)}`, style: "red" },
      handle.slice(0, 12),
      durationText(Math.max(0, Date.now() - Date.parse(startedAt))),
      memoryBytes === undefined ? undefined : bytesText(memoryBytes),
      cpuShare === undefined ? undefined : percentText(cpuShare),
      past.restarts,
      past.lastExit?.message,
    ]),
  );
}
