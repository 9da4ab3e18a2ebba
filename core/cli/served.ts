// The version that answers an application.
import type { VersionDetail, Windjammer } from "../client/interface.ts";
import { NoModelLinkedError } from "../errors.ts";

/**
 * @param version in place of the current one
 * @throws ApplicationNotFoundError, NoModelLinkedError, VersionNotFoundError
 */
export async function servedVersion(
  wj: Windjammer,
  application: string,
  version?: string,
): Promise<VersionDetail> {
  // For its error, which knows the applications there are.
  await wj.application(application);
  const [links, models] = await Promise.all([wj.links(), wj.models()]);
  const model = links.find((link) => link.application === application)?.model;
  const current = models.find(({ name }) => name === model)?.currentVersion;
  if (model === undefined || current === undefined) throw noModel(application);
  return wj.version(model, version ?? current);
}

/** The version that answers for a model; "": there is no such model, or none serves. */
export async function currentVersion(wj: Windjammer, model: string): Promise<string> {
  return (await wj.models()).find(({ name }) => name === model)?.currentVersion ?? "";
}

/** What to do about an application without a model. */
export function noModel(application: string): NoModelLinkedError {
  return new NoModelLinkedError(
    `application ${application} has no model; windjammer models lists those there are, windjammer link ${application} MODEL links one`,
    { details: { application } },
  );
}
