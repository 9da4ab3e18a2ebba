// The calls of Clipper's management API, over our own registry and deployments: what they check, in Clipper's order and
// words, and what they do.
import type { InputType } from "../../../containers/protocol.ts";
import { packManifest } from "../../deploy/bundle.ts";
import type { BundleStore } from "../../deploy/bundle-store.ts";
import { manifest } from "../../deploy/deployer.ts";
import type { Deployments } from "../../deploy/deployments.ts";
import type { Serving } from "../../query/serving.ts";
import type { Registry } from "../../registry/registry.ts";
import type { Application, Deployment, ReplicaStatus } from "../../types.ts";
import { ClipperRefusal, type Fields } from "./fields.ts";
import {
  applicationRecord,
  containerRecord,
  defaultOutputText,
  linkedModels,
  modelRecord,
  notesToSettings,
  parseDefaultOutput,
  replicaNumber,
} from "./records.ts";
import * as schemas from "./schemas.ts";

export interface ClipperCallParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly deployments: Deployments;
  readonly serving: Serving;
}

/** Gives the text of the reply. @throws ClipperRefusal, WindjammerError */
type Handler = (parts: ClipperCallParts, fields: Fields) => string | Promise<string>;

export interface ClipperCall {
  /** Said behind errors of the body. */
  readonly schema: string;
  readonly handle: Handler;
  /** Waits for the one before it, so that nothing happens between its check and its change. */
  readonly isInTurn?: boolean;
}

/** A container of Clipper's may take so long for a batch: it cannot say that it lives meanwhile. */
const BATCH_TIMEOUT_MS = 600_000;
const MAX_BATCH_SIZE = 100_000;
/** Clipper's "let the batch size follow the objective". */
const ADAPTIVE = -1;

/** By path behind /admin/; all are POST. */
export const CLIPPER_CALLS: ReadonlyMap<string, ClipperCall> = new Map<string, ClipperCall>([
  ["add_app", { schema: schemas.ADD_APPLICATION, handle: addApplication, isInTurn: true }],
  // Clipper says this one's schema, too.
  ["delete_app", { schema: schemas.ADD_APPLICATION, handle: deleteApplication, isInTurn: true }],
  ["add_model_links", { schema: schemas.ADD_LINKS, handle: addLinks, isInTurn: true }],
  ["delete_model_links", { schema: schemas.DELETE_LINKS, handle: deleteLinks, isInTurn: true }],
  ["add_model", { schema: schemas.ADD_MODEL, handle: addModel, isInTurn: true }],
  // Not these two: with models of our own they may wait for replicas.
  ["set_model_version", { schema: schemas.VERSIONED_MODEL, handle: setVersion }],
  ["delete_versioned_model", { schema: schemas.VERSIONED_MODEL, handle: deleteVersion }],
  ["get_all_applications", { schema: schemas.VERBOSE, handle: allApplications }],
  ["get_application", { schema: schemas.GET_APPLICATION, handle: oneApplication }],
  ["get_linked_models", { schema: schemas.GET_LINKED_MODELS, handle: linksOfApplication }],
  ["get_all_models", { schema: schemas.VERBOSE, handle: allModels }],
  ["get_model", { schema: schemas.GET_MODEL, handle: oneModel }],
  ["get_all_containers", { schema: schemas.VERBOSE, handle: allContainers }],
  ["get_container", { schema: schemas.GET_CONTAINER, handle: oneContainer }],
  ["get_state", { schema: schemas.SELECTION, handle: selectionState }],
]);

// Applications

async function addApplication({ registry }: ClipperCallParts, fields: Fields): Promise<string> {
  const name = fields.string("name");
  const inputType = fields.inputType("input_type");
  const defaultOutput = fields.string("default_output");
  const sloMicros = fields.int("latency_slo_micros");
  if (registry.findApplication(name) !== undefined)
    throw new ClipperRefusal(`application '${name}' already exists`);
  if (sloMicros <= 0)
    throw new ClipperRefusal(`latency_slo_micros is ${sloMicros}; give a number of microseconds above 0`);
  const application: Application = {
    name,
    inputType,
    latencyObjectiveMs: sloMicros / 1000,
    ...parseDefaultOutput(defaultOutput),
  };
  await registry.putApplication(application);
  return `Successfully added application with name '${name}'`;
}

async function deleteApplication({ registry }: ClipperCallParts, fields: Fields): Promise<string> {
  const name = fields.string("name");
  if (registry.findApplication(name) === undefined)
    throw new ClipperRefusal(`Application '${name}' does not exist`);
  await registry.deleteApplication(name);
  return `Successfully deleted application with name '${name}'`;
}

function allApplications({ registry }: ClipperCallParts, fields: Fields): string {
  const isVerbose = fields.bool("verbose");
  const records = registry
    .applications()
    .map((application) => (isVerbose ? applicationRecord(registry, application) : application.name));
  return JSON.stringify(records);
}

function oneApplication({ registry }: ClipperCallParts, fields: Fields): string {
  const found = registry.findApplication(fields.string("name"));
  return found === undefined ? "{}" : JSON.stringify(applicationRecord(registry, found));
}

function selectionState({ registry }: ClipperCallParts, fields: Fields): string {
  const name = fields.string("app_name");
  fields.int("uid");
  const found = registry.findApplication(name);
  return found === undefined ? "" : defaultOutputText(found);
}

// Links

async function addLinks({ registry }: ClipperCallParts, fields: Fields): Promise<string> {
  const application = fields.string("app_name");
  const models = fields.strings("model_names");
  const found = registry.findApplication(application);
  if (found === undefined) throw new ClipperRefusal(`No app with name '${application}' exists.`);
  for (const model of models) checkLinkable(registry, model, found);
  const [model, second] = models;
  if (model === undefined) {
    throw new ClipperRefusal(
      `Please provide the name of the model that you want to link to the application '${application}'`,
    );
  }
  if (second !== undefined) {
    throw new ClipperRefusal(
      `Applications must be linked with at most one model. Attempted to add links to ${models.length} models.`,
    );
  }
  const link = registry.linkOf(application);
  if (link?.model === model)
    throw new ClipperRefusal(`The model with name '${model}' is already linked to '${application}'`);
  if (link !== undefined)
    throw new ClipperRefusal(`A model with name ${link.model} is already linked to '${application}'.`);
  await registry.link(application, model);
  return `Successfully linked model with name '${model}' to application '${application}'`;
}

function checkLinkable(registry: Registry, name: string, { inputType }: Application): void {
  const model = registry.findModel(name);
  const current = model === undefined ? undefined : registry.findVersion(name, model.currentVersion);
  if (current === undefined) throw new ClipperRefusal(`No model with name '${name}' exists.`);
  const got = current.manifest.inputType;
  if (got === inputType) return;
  throw new ClipperRefusal(
    `Model with name '${name}' has incompatible input_type '${got}'. Requested app to link to has input_type '${inputType}'.`,
  );
}

async function deleteLinks({ registry }: ClipperCallParts, fields: Fields): Promise<string> {
  const application = fields.string("app_name");
  const models = fields.strings("model_names");
  if (registry.findApplication(application) === undefined)
    throw new ClipperRefusal(`No app with name ${application} exists.`);
  const linked = linkedModels(registry, application);
  for (const model of models) {
    if (linked.includes(model)) continue;
    throw new ClipperRefusal(`Cannot remove nonexistent link between app ${application} and model ${model}`);
  }
  for (const model of new Set(models)) await registry.unlink(application, model);
  return "Success!";
}

function linksOfApplication({ registry }: ClipperCallParts, fields: Fields): string {
  const name = fields.string("app_name");
  if (registry.findApplication(name) === undefined)
    throw new ClipperRefusal(`No application with name '${name}' exists.`);
  return JSON.stringify(linkedModels(registry, name));
}

// Models

async function addModel(parts: ClipperCallParts, fields: Fields): Promise<string> {
  const { registry, bundles, deployments } = parts;
  const name = fields.string("model_name");
  const version = fields.string("model_version");
  const labels = fields.strings("labels");
  const inputType = fields.inputType("input_type");
  const containerName = fields.string("container_name");
  const modelDataPath = fields.string("model_data_path");
  // Clipper's schema does not name it, and its own JVM client leaves it out.
  const batchSize = fields.has("batch_size") ? fields.int("batch_size") : ADAPTIVE;
  if (batchSize <= 0 && batchSize !== ADAPTIVE)
    throw new ClipperRefusal("The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1");
  checkGroupName("model name", name);
  checkGroupName("model version", version);
  for (const label of labels) checkGroupName("label", label);
  if (registry.findVersion(name, version) !== undefined)
    throw new ClipperRefusal(`model with name '${name}' and version '${version}' already exists`);
  checkLinkedApplications(registry, name, inputType);
  const described = manifest({
    deployer: "clipper",
    loader: "clipper-rpc",
    container: { kind: "clipper-rpc" },
    inputType,
    model: notesToSettings({ labels, containerName, modelDataPath }),
  });
  const { hash } = await bundles.receive(packManifest(described));
  const begun = await deployments.begin({
    name,
    version,
    bundle: hash,
    application: null,
    batchTimeoutMs: BATCH_TIMEOUT_MS,
    ...(batchSize === ADAPTIVE
      ? {}
      : { batching: { policy: "slo", maxBatchSize: Math.min(batchSize, MAX_BATCH_SIZE) } }),
  });
  await succeeded(deployments, begun);
  return `Successfully added model with name '${name}' and input type '${inputType}'`;
}

async function setVersion({ registry, deployments }: ClipperCallParts, fields: Fields): Promise<string> {
  const name = fields.string("model_name");
  const version = fields.string("model_version");
  if (registry.findModel(name) === undefined)
    throw new ClipperRefusal(`Cannot set version for nonexistent model '${name}'`);
  const found = registry.findVersion(name, version);
  if (found === undefined)
    throw new ClipperRefusal(`Cannot set non-existent version '${version}' for model with name '${name}'`);
  checkLinkedApplications(registry, name, found.manifest.inputType);
  await succeeded(deployments, await deployments.setVersion(name, version));
  return `Successfully set model with name '${name}' to version '${version}'`;
}

/** The current version keeps its record, on which the model's name and links hang: it is stopped. */
async function deleteVersion({ registry, deployments }: ClipperCallParts, fields: Fields): Promise<string> {
  const name = fields.string("model_name");
  const version = fields.string("model_version");
  const label = `model with name '${name}' and version '${version}'`;
  const found = registry.findVersion(name, version);
  if (found === undefined) throw new ClipperRefusal(`${label} does not exist`);
  const isCurrent = registry.findModel(name)?.currentVersion === version;
  const isBound = registry.versions(name).length > 1 || registry.links().some((link) => link.model === name);
  const comesByItself = found.manifest.container?.kind === "clipper-rpc";
  if (!isCurrent) await deployments.deleteVersion(name, version);
  else if (!isBound) await deployments.deleteModel(name);
  else if (!comesByItself && found.desiredReplicas === 0)
    throw new ClipperRefusal(`${label} is already marked as 'invalid'`);
  else if (!comesByItself) await deployments.scale(name, 0, version);
  return `Successfully deleted ${label}`;
}

function allModels({ registry }: ClipperCallParts, fields: Fields): string {
  const isVerbose = fields.bool("verbose");
  const records = registry
    .versions()
    .toReversed()
    .map((version) => (isVerbose ? modelRecord(registry, version) : `${version.model}:${version.version}`));
  return JSON.stringify(records);
}

function oneModel({ registry }: ClipperCallParts, fields: Fields): string {
  const name = fields.string("model_name");
  const found = registry.findVersion(name, fields.string("model_version"));
  return found === undefined ? "{}" : JSON.stringify(modelRecord(registry, found));
}

function checkGroupName(what: string, name: string): void {
  if (/[,:]/.test(name))
    throw new ClipperRefusal(`Invalid ${what} supplied: ${name}. Contains one of: ',', ':'`);
}

function checkLinkedApplications(registry: Registry, model: string, inputType: InputType): void {
  for (const link of registry.links()) {
    const application = link.model === model ? registry.findApplication(link.application) : undefined;
    if (application === undefined || application.inputType === inputType) continue;
    throw new ClipperRefusal(
      `Model with name '${model}' is already linked to app '${application.name}' using input type '${application.inputType}'. ` +
        `The input type you provided for a new version of the model, '${inputType}', is not compatible.`,
    );
  }
}

async function succeeded(deployments: Deployments, { id }: Deployment): Promise<void> {
  const { state, error } = await deployments.wait(id);
  if (state === "failed") throw new ClipperRefusal(error?.message ?? "the deployment failed");
}

// Containers

function allContainers({ registry, serving }: ClipperCallParts, fields: Fields): string {
  const isVerbose = fields.bool("verbose");
  const records = serving.replicas().map((replica) => {
    const { model, version } = replica;
    return isVerbose
      ? containerRecord(replica, inputTypeOf(registry, replica))
      : `${model}:${version}:${replicaNumber(replica)}`;
  });
  return JSON.stringify(records);
}

function oneContainer({ registry, serving }: ClipperCallParts, fields: Fields): string {
  const model = fields.string("model_name");
  const version = fields.string("model_version");
  const number = fields.int("replica_id");
  const found = serving
    .find(model, version)
    ?.replicas()
    .find((replica) => replicaNumber(replica) === number);
  return found === undefined ? "{}" : JSON.stringify(containerRecord(found, inputTypeOf(registry, found)));
}

function inputTypeOf(registry: Registry, { model, version }: ReplicaStatus): string {
  return registry.findVersion(model, version)?.manifest.inputType ?? "";
}
