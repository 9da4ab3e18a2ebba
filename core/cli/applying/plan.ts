// Compares what a config file asks for with what a server has: one row each, with what would change. Pure.
import { isDeepStrictEqual } from "node:util";
import type { FoundModel } from "../deploying/model.ts";
import { InvalidOptionsError, VersionExistsError } from "../../errors.ts";
import { nearest } from "../../nearest.ts";
import { changedGate, changedRunSettings, DEFAULT_SETTINGS, resolveSettings } from "../../deploy/settings.ts";
import type { Application, Link, Version, VersionSettings } from "../../types.ts";
import { chooseVersion, type KnownVersions } from "../deploying/choose-version.ts";
import type { WantedApplication } from "./wanted.ts";

export type Action = "create" | "update" | "unchanged" | "delete";

export interface PlanRow {
  readonly action: Action;
  readonly what: "model" | "application";
  readonly name: string;
  /** In words, for people. */
  readonly changes: readonly string[];
  /** Of a model that is created or updated. */
  readonly version?: string;
}

/** What a server has. */
export interface Present {
  readonly models: ReadonlyMap<string, KnownVersions>;
  readonly applications: ReadonlyMap<string, Application>;
  readonly links: readonly Link[];
}

export interface Wish {
  readonly models: readonly { readonly model: FoundModel; readonly bundle: string }[];
  readonly applications: readonly WantedApplication[];
}

/**
 * The rows in the order in which they are carried out.
 * @throws VersionExistsError, InvalidOptionsError for what can never be carried out
 */
export function makePlan(
  wish: Wish,
  present: Present,
  { prune }: { readonly prune: boolean },
): readonly PlanRow[] {
  const models = wish.models.map(({ model, bundle }) =>
    modelRow(model, bundle, present.models.get(model.name) ?? { versions: [], current: undefined }),
  );
  const applications = wish.applications.map((application) => applicationRow(application, wish, present));
  return [...models, ...applications, ...(prune ? deletions(wish, present) : [])];
}

/** What a server has and the file does not name. */
export function deletions(wish: Wish, present: Present): readonly PlanRow[] {
  const row = (what: PlanRow["what"], name: string): PlanRow => ({
    action: "delete",
    what,
    name,
    changes: [],
  });
  const applications = [...present.applications.keys()].filter(
    (name) => !wish.applications.some((wanted) => wanted.name === name),
  );
  const models = [...present.models.keys()].filter(
    (name) =>
      !wish.models.some(({ model }) => model.name === name) &&
      // One of the server's own that the file gives an application is named, too.
      !wish.applications.some(({ model }) => model === name),
  );
  // A model can only go when no application is linked to it.
  return [
    ...applications.map((name) => row("application", name)),
    ...models.map((name) => row("model", name)),
  ];
}

function modelRow(model: FoundModel, bundle: string, known: KnownVersions): PlanRow {
  const { name, recognized } = model;
  const version = model.version ?? chooseVersion(known, bundle, model.checked.request);
  const row = { what: "model", name, version } as const;
  if (known.current === undefined)
    return { ...row, action: "create", changes: [`version ${version}`, recognized.what] };
  const existing = known.versions.find((each) => each.version === version);
  if (existing !== undefined && existing.bundle !== bundle) {
    throw new VersionExistsError(
      `models.${name}.version: version ${version} of model ${name} exists with other content, and versions do not change; name another, or leave it out`,
      { details: { model: name, version } },
    );
  }
  const changes = [...switchOf(known, { version, bundle }), ...settingsOf(model, existing, known)];
  return { ...row, action: changes.length === 0 ? "unchanged" : "update", changes };
}

function switchOf(
  { versions, current }: KnownVersions,
  { version, bundle }: Pick<Version, "version" | "bundle">,
): readonly string[] {
  if (version === current) return [];
  const isSame = versions.some((each) => each.version === current && each.bundle === bundle);
  return [`version ${current ?? ""} → ${version} (${isSame ? "other settings" : "other content"})`];
}

/** What the file says of the version's settings, where the version has others. */
function settingsOf(
  { name, checked: { request } }: FoundModel,
  existing: Version | undefined,
  { versions, current }: KnownVersions,
): readonly string[] {
  const serving = versions.find((each) => each.version === current);
  const settings = (existing ?? serving)?.settings ?? DEFAULT_SETTINGS;
  // As the server does it: a version that is new takes nothing over from the one that serves.
  const base = existing?.settings ?? DEFAULT_SETTINGS;
  const wanted = resolveSettings(request, base, request.replicas ?? settings.replicas);
  const run = changedRunSettings(settings, wanted);
  if (existing !== undefined && existing === serving) refuseRunSettings(name, existing, run);
  return [
    ...replicasChange(serving?.desiredReplicas ?? settings.replicas, request.replicas),
    ...run.map((field) => `${field} ${shown(flat(settings)[field])} → ${shown(flat(wanted)[field])}`),
    ...(changedGate(settings, wanted) ? ["examples"] : []),
  ];
}

function replicasChange(now: number, wanted: number | undefined): readonly string[] {
  return wanted === undefined || wanted === now ? [] : [`replicas ${now} → ${wanted}`];
}

/** @throws InvalidOptionsError */
function refuseRunSettings(name: string, { version }: Version, changed: readonly string[]): void {
  if (changed.length === 0) return;
  throw new InvalidOptionsError(
    `models.${name}: version ${version} is serving with another ${changed.join(", ")}, which cannot change while it serves; name another version, or leave it out`,
    { details: { model: name, fields: changed } },
  );
}

function flat({ limits, ...settings }: VersionSettings): Readonly<Record<string, unknown>> {
  return { ...settings, ...limits };
}

function applicationRow(wanted: WantedApplication, wish: Wish, present: Present): PlanRow {
  const { name, model, ...settings } = wanted;
  checkModel(wanted, wish, present);
  const existing = present.applications.get(name);
  const row = { what: "application", name } as const;
  const given = Object.entries(settings);
  if (existing === undefined) {
    return {
      ...row,
      action: "create",
      changes: [`answered by ${model}`, ...given.map(([field, value]) => `${field} ${shown(value)}`)],
    };
  }
  const linked = present.links.find((link) => link.application === name)?.model;
  const fields: Readonly<Record<string, unknown>> = { ...existing };
  const changes = [
    ...(linked === model ? [] : [`model ${linked ?? "none"} → ${model}`]),
    ...given
      .filter(([field, value]) => !isDeepStrictEqual(fields[field], value))
      .map(([field, value]) => `${field} ${shown(fields[field])} → ${shown(value)}`),
  ];
  return { ...row, action: changes.length === 0 ? "unchanged" : "update", changes };
}

/** @throws InvalidOptionsError */
function checkModel({ name, model }: WantedApplication, wish: Wish, present: Present): void {
  const known = [...wish.models.map((each) => each.model.name), ...present.models.keys()];
  if (known.includes(model)) return;
  const near = nearest(model, known);
  throw new InvalidOptionsError(
    `applications.${name}.model: no model "${model}" in the file or on the server${near === undefined ? "" : `; did you mean "${near}"?`}`,
    { details: { field: `applications.${name}.model` } },
  );
}

function shown(value: unknown): string {
  if (value === undefined) return "none";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
