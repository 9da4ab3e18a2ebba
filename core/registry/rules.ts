// The rules of the registry: each takes the state and a wish, and gives the changes of one commit, or refuses.
import type { InputType } from "../../containers/protocol.ts";
import { NAME_PATTERN, VERSION_PATTERN } from "../config.ts";
import { DeploymentConflictError, InUseError, InvalidRequestError, VersionExistsError } from "../errors.ts";
import type { Application, Deployment, Link, Version } from "../types.ts";
import { versionKey } from "../version-key.ts";
import { applicationOf, linkOfApplication, linksOfModel, modelOf, versionOf } from "./lookup.ts";
import { keyOf, type Change, type State } from "./store.ts";

/** Deployments that are kept, with their events; older ones that have ended are dropped. */
export const MAX_DEPLOYMENTS = 200;

export interface Publication {
  readonly version: Version;
  /** Created, or merged into the record of that moment: fields that it leaves out stay. Linked to the model. */
  readonly application?: Application | undefined;
  /** The application was there when the publication was planned: it is not made anew when it has been deleted since. */
  readonly isKnownApplication?: boolean | undefined;
  /** False: it is recorded beside the current version, which stays; applications do, too. Default true. */
  readonly takesOver?: boolean | undefined;
  /** The version gets as many replicas as the current one has at that moment, if there is one. */
  readonly keepsReplicas?: boolean | undefined;
  /** Whether the former current version gets 0 desired replicas in the same commit. */
  readonly retire: boolean;
  /** Record of the deployment that publishes, as it is from then on. */
  readonly deployment?: Deployment | undefined;
}

export function putApplication(state: State, application: Application): readonly Change[] {
  checkName("application", application.name);
  const link = linkOfApplication(state, application.name);
  if (link !== undefined) checkInputTypes(application, currentVersion(state, link.model));
  return [{ put: "applications", record: application }];
}

export function deleteApplication(state: State, name: string): readonly Change[] {
  applicationOf(state, name);
  const links = [...state.links.values()].filter((link) => link.application === name);
  return [
    { delete: "applications", key: name },
    ...links.map((link): Change => ({ delete: "links", key: keyOf("links", link) })),
  ];
}

/** In place of the application's link to another model. */
export function putLink(state: State, application: string, model: string): readonly Change[] {
  checkInputTypes(applicationOf(state, application), currentVersion(state, model));
  const former = linkOfApplication(state, application);
  if (former?.model === model) return [];
  const removed: Change[] = former === undefined ? [] : [{ delete: "links", key: keyOf("links", former) }];
  return [...removed, { put: "links", record: { application, model, weight: 1 } }];
}

export function deleteLink(state: State, application: string, model: string): readonly Change[] {
  applicationOf(state, application);
  modelOf(state, model);
  const link = linkOfApplication(state, application);
  if (link?.model !== model) {
    const actual = link === undefined ? "to none" : `to model "${link.model}"`;
    throw new InvalidRequestError(
      `application "${application}" is not linked to model "${model}", but ${actual}; nothing to unlink`,
      { details: { application, model } },
    );
  }
  return [{ delete: "links", key: keyOf("links", link) }];
}

export function publish(state: State, publication: Publication): readonly Change[] {
  const version = asPublished(state, publication);
  const { model } = version;
  checkName("model", model);
  checkVersionName(version.version);
  checkReplicas(version.desiredReplicas);
  for (const link of linksOfModel(state, model))
    checkInputTypes(applicationOf(state, link.application), version);
  const changes: Change[] = [{ put: "versions", record: version }];
  if (publication.takesOver === false) modelOf(state, model);
  else changes.push(...takeOver(state, publication, version));
  if (publication.deployment !== undefined) changes.push(...putDeployment(state, publication.deployment));
  return changes;
}

function takeOver(state: State, publication: Publication, version: Version): readonly Change[] {
  return [
    { put: "models", record: { name: version.model, currentVersion: version.version } },
    ...(publication.retire ? retirement(state, version) : []),
    ...publishedApplication(state, publication),
  ];
}

function asPublished(state: State, { version, keepsReplicas }: Publication): Version {
  const stored = state.versions.get(keyOf("versions", version));
  if (stored !== undefined) checkSameBundle(stored, version);
  const { model } = version;
  const former = state.models.get(model)?.currentVersion;
  const running =
    former === undefined
      ? undefined
      : state.versions.get(versionKey({ model, version: former }))?.desiredReplicas;
  const kept = keepsReplicas === true && running !== undefined ? running : undefined;
  return {
    ...version,
    ...(kept === undefined
      ? {}
      : { settings: { ...version.settings, replicas: kept }, desiredReplicas: kept }),
    createdAt: stored?.createdAt ?? version.createdAt,
  };
}

function publishedApplication(
  state: State,
  { version, application, isKnownApplication }: Publication,
): readonly Change[] {
  if (application === undefined) return [];
  const { name } = application;
  checkName("application", name);
  const stored = state.applications.get(name);
  if (stored === undefined && isKnownApplication === true) {
    throw new DeploymentConflictError(
      `application "${name}" was deleted while model "${version.model}" version "${version.version}" was being deployed; deploy again to make it anew`,
      { details: { application: name, model: version.model } },
    );
  }
  // The callers of an application rely on its input type: it stays.
  checkInputTypes(stored ?? application, version);
  return [
    { put: "applications", record: { ...stored, ...application } },
    ...newLink(state, name, version.model),
  ];
}

export function setDesiredReplicas(
  state: State,
  of: Pick<Version, "model" | "version">,
  replicas: number,
): readonly Change[] {
  checkReplicas(replicas);
  const version = versionOf(state, of.model, of.version);
  if (version.desiredReplicas === replicas) return [];
  return [{ put: "versions", record: { ...version, desiredReplicas: replicas } }];
}

export function deleteVersion(state: State, model: string, version: string): readonly Change[] {
  versionOf(state, model, version);
  if (modelOf(state, model).currentVersion === version) {
    throw new InUseError(
      `version "${version}" is the current one of model "${model}"; set another version first, or delete the model`,
      { details: { model, version } },
    );
  }
  return [{ delete: "versions", key: versionKey({ model, version }) }];
}

export function deleteModel(state: State, model: string): readonly Change[] {
  modelOf(state, model);
  const applications = linksOfModel(state, model).map((link) => link.application);
  if (applications.length > 0) {
    throw new InUseError(
      `model "${model}" is linked to application ${applications.map((name) => `"${name}"`).join(", ")}; unlink or delete that first`,
      { details: { model, applications } },
    );
  }
  const versions = [...state.versions.values()].filter((version) => version.model === model);
  return [
    ...versions.map((version): Change => ({ delete: "versions", key: keyOf("versions", version) })),
    { delete: "models", key: model },
  ];
}

export function putDeployment(state: State, deployment: Deployment): readonly Change[] {
  if (deployment.id === "") throw new InvalidRequestError("a deployment needs an id; give it one");
  const others = [...state.deployments.values()].filter(({ id }) => id !== deployment.id);
  const ended = others
    .filter((other) => other.state !== "running")
    .toSorted((a, b) => (a.startedAt < b.startedAt ? -1 : Number(a.startedAt > b.startedAt)));
  const surplus = ended.slice(0, Math.max(0, others.length + 1 - MAX_DEPLOYMENTS));
  return [
    { put: "deployments", record: deployment },
    ...surplus.map((old): Change => ({ delete: "deployments", key: old.id })),
  ];
}

/** None when the link is there already. A deployment never takes an application away from another model. */
function newLink(state: State, application: string, model: string): readonly Change[] {
  const link = linkOfApplication(state, application);
  if (link?.model === model) return [];
  if (link !== undefined) {
    throw new InUseError(
      `application "${application}" is linked to model "${link.model}"; unlink it first, or deploy with another application (or application: null for none)`,
      { details: { application, model: link.model } },
    );
  }
  const record: Link = { application, model, weight: 1 };
  return [{ put: "links", record }];
}

function retirement(state: State, next: Version): readonly Change[] {
  const name = state.models.get(next.model)?.currentVersion;
  if (name === undefined || name === next.version) return [];
  const former = state.versions.get(`${next.model}/${name}`);
  if (former === undefined || former.desiredReplicas === 0) return [];
  return [{ put: "versions", record: { ...former, desiredReplicas: 0 } }];
}

function currentVersion(state: State, model: string): Version {
  return versionOf(state, model, modelOf(state, model).currentVersion);
}

function checkName(what: "application" | "model", name: string): void {
  if (NAME_PATTERN.test(name)) return;
  throw new InvalidRequestError(
    `${what} name ${quoted(name)} is not allowed; use a-z and 0-9, with - and _ between them, at most 100`,
    { details: { field: what } },
  );
}

function checkVersionName(name: string): void {
  if (VERSION_PATTERN.test(name)) return;
  throw new InvalidRequestError(
    `version ${quoted(name)} is not allowed; begin with a letter or digit, go on with those and - . _, at most 64`,
    { details: { field: "version" } },
  );
}

function checkReplicas(replicas: number): void {
  if (Number.isSafeInteger(replicas) && replicas >= 0) return;
  throw new InvalidRequestError(`replicas is ${replicas}; give a whole number, 0 or more`, {
    details: { field: "replicas" },
  });
}

function checkSameBundle(stored: Version, version: Version): void {
  if (stored.bundle === version.bundle) return;
  throw new VersionExistsError(
    `version "${version.version}" of model "${version.model}" exists with other content (bundle ` +
      `${stored.bundle.slice(0, 12)}, not ${version.bundle.slice(0, 12)}); versions never change: deploy it as another version`,
    {
      details: {
        model: version.model,
        version: version.version,
        stored: stored.bundle,
        given: version.bundle,
      },
    },
  );
}

function checkInputTypes(
  application: { readonly name: string; readonly inputType: InputType },
  version: Version,
): void {
  const { name, inputType } = application;
  const expected = version.manifest.inputType;
  if (inputType === expected) return;
  throw new InvalidRequestError(
    `application "${name}" takes ${inputType}, but version "${version.version}" of model "${version.model}" takes ` +
      `${expected}; use an application whose input type is ${expected}, or delete application "${name}" first`,
    { details: { application: name, inputType, model: version.model, version: version.version, expected } },
  );
}

/** A name from outside, as far as it helps. */
function quoted(name: string): string {
  const text = JSON.stringify(name);
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
