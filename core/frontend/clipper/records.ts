// Our records as Clipper's management API shows them.
import type { JsonValue, Manifest } from "../../../containers/protocol.ts";
import { keptDefaultText } from "../../query/default-output.ts";
import type { Registry } from "../../registry/registry.ts";
import type { Application, ReplicaStatus, Version } from "../../types.ts";

/** What `add_model` says of a model beside what we have words for; kept in the manifest of its bundle. */
export interface ModelNotes {
  readonly labels: readonly string[];
  readonly containerName: string;
  readonly modelDataPath: string;
}

export function applicationRecord(registry: Registry, application: Application): JsonValue {
  const { name, inputType, latencyObjectiveMs } = application;
  return {
    input_type: inputType,
    default_output: defaultOutputText(application),
    // Clipper has no application without an objective; 0 is none of its own.
    latency_slo_micros: Math.round((latencyObjectiveMs ?? 0) * 1000),
    name,
    linked_models: linkedModels(registry, name),
  };
}

export function linkedModels(registry: Registry, application: string): readonly string[] {
  const link = registry.linkOf(application);
  return link === undefined ? [] : [link.model];
}

/** The default output as Clipper keeps it, as a string: what was given, or the value's own text. */
export function defaultOutputText(application: Application): string {
  const { defaultOutput } = application;
  if (defaultOutput === undefined) return "";
  const text = keptDefaultText(application);
  if (text !== undefined) return text;
  return typeof defaultOutput === "string" ? defaultOutput : JSON.stringify(defaultOutput);
}

/** A default output as Clipper's clients give it: embedded as JSON where it is JSON, and else a string. */
export function parseDefaultOutput(text: string): Pick<Application, "defaultOutput" | "defaultOutputText"> {
  try {
    return { defaultOutput: JSON.parse(text) as JsonValue, defaultOutputText: text };
  } catch {
    return { defaultOutput: text };
  }
}

export function modelRecord(registry: Registry, version: Version): JsonValue {
  const { model, manifest } = version;
  const { labels, containerName, modelDataPath } = notesOf(version);
  return {
    model_name: model,
    model_version: version.version,
    input_type: manifest.inputType,
    // As Clipper does: no label comes back as one that is empty.
    labels: labels.length === 0 ? [""] : labels,
    container_name: containerName,
    model_data_path: modelDataPath,
    is_current_version: registry.findModel(model)?.currentVersion === version.version,
  };
}

export function notesToSettings({ labels, containerName, modelDataPath }: ModelNotes): Manifest["model"] {
  return { labels, containerName, modelDataPath };
}

/** Of a model that was not registered by Clipper's API: what makes it, and its bundle. */
function notesOf({ manifest, bundle }: Version): ModelNotes {
  if (manifest.container?.kind === "clipper-rpc" && manifest.model["containerName"] !== undefined)
    return manifest.model as unknown as ModelNotes;
  return { labels: [], containerName: `windjammer/${manifest.loader}`, modelDataPath: `sha256:${bundle}` };
}

export function containerRecord(replica: ReplicaStatus, inputType: string): JsonValue {
  const { model, version } = replica;
  return {
    model_id: `${model}:${version}`,
    model_name: model,
    model_version: version,
    model_replica_id: replicaNumber(replica),
    input_type: inputType,
  };
}

/** The number at the end of a replica's name: "digits-1-r3" is 3. */
export function replicaNumber({ id }: Pick<ReplicaStatus, "id">): number {
  return Number(/-r(\d+)$/.exec(id)?.[1] ?? 0);
}
