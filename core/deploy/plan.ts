// What a deployment is going to change, worked out before anything is started.
import { isDeepStrictEqual } from "node:util";
import type { InputType } from "../../containers/protocol.ts";
import { InUseError, InvalidRequestError, VersionExistsError } from "../errors.ts";
import type { Serving } from "../query/serving.ts";
import type { Registry } from "../registry/registry.ts";
import type { Application, BundleFolder, DeploymentRequest, Version } from "../types.ts";
import { decodeExamples } from "./gate.ts";
import {
  changedRunSettings,
  DEFAULT_SETTINGS,
  otherInputType,
  resolveApplication,
  resolveSettings,
} from "./settings.ts";

export interface PlanParts {
  readonly registry: Registry;
  readonly serving: Serving;
}

export interface Plan {
  /**
   * rollout: replicas of the version are started, pass the gate and take over. settings: the version is current and
   * runs; only its application, replica count or examples change. unchanged: there is nothing to do.
   */
  readonly kind: "rollout" | "settings" | "unchanged";
  readonly bundle: BundleFolder;
  /** The record as it will be. */
  readonly version: Version;
  /** The record of this version as it is, where it exists. */
  readonly existing: Version | undefined;
  /** The current version now; may be this one. */
  readonly former: Version | undefined;
  readonly application: Application | undefined;
}

/**
 * Plans the deployment of `bundle`.
 *
 * An existing version keeps the settings that the request leaves out; a new one gets the defaults. Both keep the
 * replica count of the current version, unless the request names one.
 * @throws VersionExistsError, InUseError, InvalidRequestError, InvalidOptionsError, InvalidInputError (of an example)
 */
export function planDeployment(parts: PlanParts, request: DeploymentRequest, bundle: BundleFolder): Plan {
  const { registry } = parts;
  const { inputType } = bundle.manifest;
  const existing = registry.findVersion(request.name, request.version);
  if (existing !== undefined && existing.bundle !== request.bundle) throw versionExists(existing, request);
  const former = currentVersion(registry, request.name);
  const application = resolveApplication(request, inputType, (name) => registry.findApplication(name));
  if (application !== undefined) refuseOtherLink(registry, application, request.name);
  refuseOtherInputType(registry, request.name, inputType);
  const version = recordOf(request, bundle, { existing, former });
  decodeExamples(bundle.manifest, version.settings.examples);
  const plan = { bundle, version, existing, former, application };
  return { kind: kindOf(parts, plan), ...plan };
}

function currentVersion(registry: Registry, name: string): Version | undefined {
  const model = registry.findModel(name);
  return model === undefined ? undefined : registry.findVersion(name, model.currentVersion);
}

function recordOf(
  request: DeploymentRequest,
  bundle: BundleFolder,
  { existing, former }: Pick<Plan, "existing" | "former">,
): Version {
  const replicas = request.replicas ?? former?.desiredReplicas ?? DEFAULT_SETTINGS.replicas;
  return {
    model: request.name,
    version: request.version,
    bundle: bundle.hash,
    manifest: bundle.manifest,
    settings: resolveSettings(request, existing?.settings ?? DEFAULT_SETTINGS, replicas),
    desiredReplicas: replicas,
    createdAt: existing?.createdAt ?? new Date().toISOString(),
  };
}

function kindOf({ registry, serving }: PlanParts, plan: Omit<Plan, "kind">): Plan["kind"] {
  const { version, existing, former, application } = plan;
  if (existing === undefined || former?.version !== existing.version) return "rollout";
  const readyCount = serving.find(version.model, version.version)?.readyCount ?? 0;
  const shouldRun = existing.desiredReplicas > 0 || version.desiredReplicas > 0;
  if (readyCount === 0 && shouldRun) return "rollout";
  refuseRunSettings(existing, version);
  const asItRuns = { ...existing, settings: { ...existing.settings, replicas: existing.desiredReplicas } };
  const isSame = application === undefined || isSetUp(registry, application, version.model);
  return isSame && isDeepStrictEqual(version, asItRuns) ? "unchanged" : "settings";
}

function isSetUp(registry: Registry, application: Application, model: string): boolean {
  return (
    isDeepStrictEqual(registry.findApplication(application.name), application) &&
    registry.linkOf(application.name)?.model === model
  );
}

/** Every application that is linked to the model goes on with the new version. */
function refuseOtherInputType(registry: Registry, model: string, inputType: InputType): void {
  for (const link of registry.links()) {
    const linked = link.model === model ? registry.findApplication(link.application) : undefined;
    if (linked !== undefined && linked.inputType !== inputType)
      throw otherInputType(linked, inputType, model);
  }
}

/** A deployment never takes an application away from another model. */
function refuseOtherLink(registry: Registry, application: Application, model: string): void {
  const link = registry.linkOf(application.name);
  if (link === undefined || link.model === model) return;
  throw new InUseError(
    `application ${application.name} is linked to model ${link.model}; unlink it first, or deploy model ${model} with another application (or application: null for none)`,
    { details: { application: application.name, model: link.model } },
  );
}

function versionExists(existing: Version, request: DeploymentRequest): VersionExistsError {
  return new VersionExistsError(
    `model ${request.name} version ${request.version} exists with other content (bundle ${existing.bundle.slice(0, 12)}, not ${request.bundle.slice(0, 12)}); versions are immutable: deploy this content as another version`,
    { details: { model: request.name, version: request.version, bundle: existing.bundle } },
  );
}

/** Replicas and queue of a version are built with these settings, so that a change needs a rollout under another version. */
function refuseRunSettings(existing: Version, wanted: Version): void {
  const changed = changedRunSettings(existing.settings, wanted.settings);
  if (changed.length === 0) return;
  throw new InvalidRequestError(
    `model ${wanted.model} version ${wanted.version} is serving with another ${changed.join(", ")}, which cannot be changed while it serves; deploy the same content as another version with the new settings`,
    { details: { model: wanted.model, version: wanted.version, fields: changed } },
  );
}
