// What a deployment is going to change, worked out before anything is started.
import { isDeepStrictEqual } from "node:util";
import { InvalidOptionsError, InvalidRequestError } from "../errors.ts";
import type { Serving } from "../query/serving.ts";
import type { Registry } from "../registry/registry.ts";
import type { Publication } from "../registry/rules.ts";
import type { Application, BundleFolder, DeploymentRequest, Version } from "../types.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import { checkInFlight, checkRuns, connectsByItself } from "./container-kind.ts";
import { hasContract } from "./deployer.ts";
import { decodeExamples } from "./gate.ts";
import {
  changedRunSettings,
  DEFAULT_PREPARE_TIMEOUT_MS,
  DEFAULT_SETTINGS,
  requestedApplication,
  resolveSettings,
} from "./settings.ts";

export interface PlanParts {
  readonly registry: Registry;
  readonly serving: Serving;
  readonly runtime: Pick<Runtime, "name" | "abilities">;
}

export interface Plan {
  /**
   * rollout: replicas of the version are started, pass the gate and, where it takes over, get the queries. settings: the version is current and
   * runs; only its application, replica count or examples change. registration: it takes over as it is, since its
   * containers come by themselves. unchanged: there is nothing to do.
   */
  readonly kind: "rollout" | "settings" | "registration" | "unchanged";
  readonly bundle: BundleFolder;
  /** The record as it will be, but for a replica count that it keeps: that one counts as it is at the switch. */
  readonly version: Version;
  /** The record of this version as it is, where it exists. */
  readonly existing: Version | undefined;
  /** The current version now; may be this one. */
  readonly former: Version | undefined;
  /** With the fields that the deployment names, and no others. */
  readonly application: Application | undefined;
  /** What the switch commits, beside the deployment's own record; in place of a switch where it does not take over. */
  readonly publication: Publication & { readonly takesOver: boolean };
  readonly prepareTimeoutMs: number;
}

/**
 * Plans the deployment of `bundle`.
 *
 * An existing version keeps the settings that the request leaves out; a new one gets the defaults. Both keep the
 * replica count of the current version, unless the request names one.
 * @throws UnsupportedModelError, VersionExistsError, InUseError, InvalidRequestError, InvalidOptionsError,
 * InvalidInputError (of an example)
 */
export function planDeployment(parts: PlanParts, asked: DeploymentRequest, bundle: BundleFolder): Plan {
  const { registry } = parts;
  checkRuns(parts.runtime, bundle.manifest);
  const request = { ...asked, ...replicasOf(asked, bundle) };
  const existing = registry.findVersion(request.name, request.version);
  const former = currentVersion(registry, request.name);
  // One that serves already has nothing to switch to.
  const takesOver = request.switch !== false || former?.version === request.version;
  const application =
    request.switch === false
      ? unchangedApplication(registry, request, { bundle, former })
      : requestedApplication(request, bundle.manifest.inputType);
  const version = recordOf(request, bundle, { existing, former });
  checkInFlight(version);
  const publication = {
    version,
    application,
    isKnownApplication: application !== undefined && registry.findApplication(application.name) !== undefined,
    takesOver,
    keepsReplicas: request.replicas === undefined && !comesOrCame(version, former),
    retire: former !== undefined && former.version !== version.version,
  };
  // What the switch would refuse is refused now, before anything is started.
  registry.checkPublish(publication);
  if (hasContract(version.manifest)) decodeExamples(version.manifest, version.settings.examples);
  const prepareTimeoutMs = request.prepareTimeoutMs ?? DEFAULT_PREPARE_TIMEOUT_MS;
  const plan = { bundle, version, existing, former, application, publication, prepareTimeoutMs };
  return { kind: kindOf(parts, plan), ...plan };
}

/**
 * Without a switch, applications stay as they are: none is planned.
 * @throws InvalidOptionsError for the first version of a model, and where the request wants an application otherwise
 */
function unchangedApplication(
  registry: Registry,
  request: DeploymentRequest,
  { bundle, former }: { readonly bundle: BundleFolder; readonly former: Version | undefined },
): undefined {
  const { name, version } = request;
  if (former === undefined) {
    throw new InvalidOptionsError(
      `switch: model ${name} has no version that serves, so its first one, ${version}, cannot stand beside it; leave switch: false out (with application: null it serves no application)`,
      { details: { option: "switch", model: name, version } },
    );
  }
  const wanted = requestedApplication(request, bundle.manifest.inputType);
  if (wanted === undefined) return;
  const { name: application, inputType: _, ...settings } = wanted;
  const given = Object.keys(settings);
  if (request.application === undefined && given.length === 0) return;
  if (isSetUp(registry, wanted, name)) return;
  const fields = [...(request.application === undefined ? [] : ["application"]), ...given];
  throw new InvalidOptionsError(
    `${fields.join(", ")}: a deployment with switch: false leaves applications as they are, and application ${application} is set up otherwise; leave that out, and change the application apart`,
    { details: { option: fields[0], application, fields } },
  );
}

/** Of servers that run elsewhere there is one replica each, unless the request names another count. */
function replicasOf(
  { replicas }: DeploymentRequest,
  { manifest: { container } }: BundleFolder,
): Pick<DeploymentRequest, "replicas"> {
  return replicas === undefined && container?.kind === "url" ? { replicas: container.urls.length } : {};
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
  const replicas = countOf(request, bundle, { existing, former });
  return {
    model: request.name,
    version: request.version,
    bundle: bundle.hash,
    // What was learned of a foreign server at its first deployment stays with the version.
    manifest: existing?.bundle === bundle.hash ? existing.manifest : bundle.manifest,
    settings: resolveSettings(request, existing?.settings ?? DEFAULT_SETTINGS, replicas),
    desiredReplicas: replicas,
    createdAt: existing?.createdAt ?? new Date().toISOString(),
  };
}

/** One of the two has containers that come by themselves: the other's count says nothing of it. */
function comesOrCame(version: Version, former: Version | undefined): boolean {
  return connectsByItself(version.manifest) || (former !== undefined && connectsByItself(former.manifest));
}

function countOf(
  request: DeploymentRequest,
  { manifest }: BundleFolder,
  { existing, former }: Pick<Plan, "existing" | "former">,
): number {
  if (connectsByItself(manifest)) return 0;
  const base =
    former !== undefined && connectsByItself(former.manifest) ? undefined : former?.desiredReplicas;
  return request.replicas ?? base ?? existing?.settings.replicas ?? DEFAULT_SETTINGS.replicas;
}

function kindOf({ registry, serving }: PlanParts, plan: Omit<Plan, "kind">): Plan["kind"] {
  const { version, existing, former } = plan;
  const { takesOver } = plan.publication;
  const isCurrent = former?.version === version.version;
  if (existing === undefined || (takesOver && !isCurrent)) return arrival(version);
  if (!isRunning(serving, version, existing)) return arrival(version);
  if (isCurrent) refuseRunSettings(existing, version);
  if (isAsItRuns(registry, plan, existing)) return "unchanged";
  return isCurrent ? "settings" : arrival(version);
}

/** As far as it has to: it may be one without replicas. */
function isRunning(serving: Serving, version: Version, existing: Version): boolean {
  const shouldRun = existing.desiredReplicas > 0 || version.desiredReplicas > 0;
  const readyCount = serving.find(version.model, version.version)?.readyCount ?? 0;
  return readyCount > 0 || !shouldRun;
}

/** The version runs with these settings, and its application is set up, where it concerns one. */
function isAsItRuns(
  registry: Registry,
  { version, application }: Pick<Plan, "version" | "application">,
  existing: Version,
): boolean {
  const asItRuns = { ...existing, settings: { ...existing.settings, replicas: existing.desiredReplicas } };
  const isSame = application === undefined || isSetUp(registry, application, version.model);
  return isSame && isDeepStrictEqual(version, asItRuns);
}

function arrival({ manifest }: Version): Plan["kind"] {
  return connectsByItself(manifest) ? "registration" : "rollout";
}

function isSetUp(registry: Registry, application: Application, model: string): boolean {
  const stored = registry.findApplication(application.name);
  return (
    isDeepStrictEqual({ ...stored, ...application }, stored) &&
    registry.linkOf(application.name)?.model === model
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
