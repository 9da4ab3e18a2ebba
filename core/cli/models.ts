// `windjammer models` and `windjammer versions`: what is deployed.
import type { Command } from "commander";
import type { Manifest } from "../../containers/protocol.ts";
import type { Windjammer } from "../client/interface.ts";
import { connectsByItself } from "../deploy/container-kind.ts";
import type { Model, ReplicaStatus, Version } from "../types.ts";
import { type Cell, Output, table } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { agoText } from "./units.ts";

interface ReplicaCount {
  readonly ready: number;
  readonly desired: number;
}

/** A model, and what runs of its current version. */
interface ListedModel extends Model {
  readonly versions: number;
  readonly applications: readonly string[];
  readonly replicas: ReplicaCount;
}

/** A version, and what runs of it. */
interface ListedVersion extends Version {
  readonly isCurrent: boolean;
  readonly replicas: ReplicaCount;
}

export function modelsCommand(): Command {
  return serverCommand("models", "the models, their current versions and their replicas").action(
    async (flags: ServerFlags) => {
      const output = new Output(flags);
      const models = await withServer(flags, listModels);
      output.result(models, () =>
        models.length === 0 ? "no models yet: windjammer deploy --help" : modelsTable(models),
      );
    },
  );
}

export function versionsCommand(): Command {
  return serverCommand("versions", "the versions of a model, newest first")
    .argument("<model>", "name of the model")
    .action(async (model: string, flags: ServerFlags) => {
      const output = new Output(flags);
      const versions = await withServer(flags, (wj) => listVersions(wj, model));
      output.result(versions, () => versionsTable(versions));
    });
}

async function listModels(wj: Windjammer): Promise<readonly ListedModel[]> {
  const [models, links, replicas] = await Promise.all([wj.models(), wj.links(), wj.replicas()]);
  return Promise.all(
    models.map(async (model) => {
      const versions = await wj.versions(model.name);
      const current = versions.find(({ version }) => version === model.currentVersion);
      return Object.assign(model, {
        versions: versions.length,
        applications: links.filter((link) => link.model === model.name).map(({ application }) => application),
        replicas: countOf(current, replicas),
      });
    }),
  );
}

async function listVersions(wj: Windjammer, model: string): Promise<readonly ListedVersion[]> {
  const [versions, models, replicas] = await Promise.all([wj.versions(model), wj.models(), wj.replicas()]);
  const current = models.find(({ name }) => name === model)?.currentVersion;
  return versions.map((version) =>
    Object.assign(version, { isCurrent: version.version === current, replicas: countOf(version, replicas) }),
  );
}

function countOf(version: Version | undefined, replicas: readonly ReplicaStatus[]): ReplicaCount {
  const ready = replicas.filter(
    (replica) =>
      replica.state === "ready" && replica.model === version?.model && replica.version === version.version,
  );
  return { ready: ready.length, desired: version?.desiredReplicas ?? 0 };
}

function modelsTable(models: readonly ListedModel[]): string {
  return table(
    ["MODEL", "CURRENT", "VERSIONS", "REPLICAS", "APPLICATIONS"],
    models.map(({ name, currentVersion, versions, replicas, applications }) => [
      { text: name, style: "bold" },
      currentVersion,
      versions,
      countCell(replicas),
      applications.length === 0 ? undefined : applications.join(", "),
    ]),
  );
}

function versionsTable(versions: readonly ListedVersion[]): string {
  return table(
    ["VERSION", "STATE", "REPLICAS", "INPUT", "LOADER", "CREATED", "BUNDLE"],
    versions.map(({ version, isCurrent, replicas, manifest, createdAt, bundle }) => [
      { text: version, style: "bold" },
      stateCell(isCurrent, manifest, replicas),
      countCell(replicas),
      manifest.inputType,
      manifest.loader,
      agoText(createdAt),
      bundle.slice(0, 12),
    ]),
  );
}

/** One that is not current and runs can be asked by its name, and switched to at once. */
function stateCell(isCurrent: boolean, manifest: Manifest, { ready, desired }: ReplicaCount): Cell {
  // Those whose containers come by themselves want none of us.
  const isStopped = desired === 0 && !connectsByItself(manifest);
  if (isCurrent)
    return isStopped ? { text: "current, stopped", style: "yellow" } : { text: "current", style: "green" };
  if (isStopped) return "stopped";
  return ready > 0 ? "ready" : { text: "not ready", style: "yellow" };
}

function countCell({ ready, desired }: ReplicaCount): Cell {
  const text = `${ready}/${desired}`;
  return ready === desired ? text : { text, style: "yellow" };
}
