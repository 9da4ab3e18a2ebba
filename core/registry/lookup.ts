// Finds records by name, or throws an error that says which names there are.
import {
  ApplicationNotFoundError,
  DeploymentNotFoundError,
  ModelNotFoundError,
  VersionNotFoundError,
} from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { Application, Deployment, Link, Model, Version } from "../types.ts";
import { versionKey } from "../version-key.ts";
import type { State } from "./store.ts";

/** Longer lists of names would hide the message. */
const MOST_NAMES = 10;

/** @throws ApplicationNotFoundError */
export function applicationOf(state: State, name: string): Application {
  const found = state.applications.get(name);
  if (found !== undefined) return found;
  const known = [...state.applications.keys()];
  throw new ApplicationNotFoundError(
    `no application named "${name}"; ${alternatives(name, known, "create it or deploy a model first")}`,
    { details: { application: name } },
  );
}

/** @throws ModelNotFoundError */
export function modelOf(state: State, name: string): Model {
  const found = state.models.get(name);
  if (found !== undefined) return found;
  const known = [...state.models.keys()];
  throw new ModelNotFoundError(`no model named "${name}"; ${alternatives(name, known, "deploy one first")}`, {
    details: { model: name },
  });
}

/** @throws ModelNotFoundError, VersionNotFoundError */
export function versionOf(state: State, model: string, version: string): Version {
  const found = state.versions.get(versionKey({ model, version }));
  if (found !== undefined) return found;
  modelOf(state, model);
  const known = [...state.versions.values()].filter((each) => each.model === model);
  const names = known.map((each) => each.version);
  throw new VersionNotFoundError(
    `model "${model}" has no version "${version}"; ${alternatives(version, names, "deploy it first")}`,
    { details: { model, version } },
  );
}

/** @throws DeploymentNotFoundError */
export function deploymentOf(state: State, id: string): Deployment {
  const found = state.deployments.get(id);
  if (found !== undefined) return found;
  throw new DeploymentNotFoundError(
    `no deployment "${id}"; only the latest ones are kept, list them to see which`,
    { details: { deployment: id } },
  );
}

export function linksOfModel(state: State, model: string): readonly Link[] {
  return [...state.links.values()].filter((link) => link.model === model);
}

export function linkOfApplication(state: State, application: string): Link | undefined {
  return [...state.links.values()].find((link) => link.application === application);
}

/** What to write in place of an unknown name. */
function alternatives(name: string, known: readonly string[], whenNone: string): string {
  if (known.length === 0) return `there are none yet: ${whenNone}`;
  const close = nearest(name, known);
  const parts = close === undefined ? [] : [`did you mean "${close}"?`];
  if (known.length <= MOST_NAMES) parts.push(`there are: ${known.join(", ")}`);
  else if (close === undefined) parts.push(`there are ${known.length}, list them to see which`);
  return parts.join(" ");
}
