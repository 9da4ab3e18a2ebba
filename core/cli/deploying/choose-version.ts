// Which version a model becomes whose user names none: the one that has this content, else the next free number.
import type { Version, VersionOptions } from "../../types.ts";
import { changedRunSettings, resolveSettings } from "../../deploy/settings.ts";

export interface KnownVersions {
  readonly versions: readonly Version[];
  /** Undefined while the model is new. */
  readonly current: string | undefined;
}

/**
 * A version with the same bundle is taken again, so that deploying twice changes nothing; but for the one that serves,
 * when it would have to run with other settings, which a version cannot change while it serves.
 */
export function chooseVersion(known: KnownVersions, bundle: string, wanted: VersionOptions): string {
  const same = known.versions.filter((version) => version.bundle === bundle);
  const fit = same.filter(({ version, settings }) => {
    const changed = changedRunSettings(settings, resolveSettings(wanted, settings, settings.replicas));
    return version !== known.current || changed.length === 0;
  });
  const chosen = fit.find(({ version }) => version === known.current) ?? newest(fit);
  return chosen?.version ?? nextNumber(known.versions);
}

function newest(versions: readonly Version[]): Version | undefined {
  return versions.toSorted((a, b) => (a.createdAt < b.createdAt ? 1 : -1))[0];
}

/** One more than the highest whole number among the versions. */
export function nextNumber(versions: readonly Pick<Version, "version">[]): string {
  const numbers = versions.map(({ version }) => (/^\d{1,15}$/.test(version) ? Number(version) : 0));
  return String(Math.max(0, ...numbers) + 1);
}
