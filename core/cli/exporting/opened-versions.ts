// What a server on the same state folder runs from its start on.
import type { Windjammer } from "../../client/interface.ts";
import type { Version } from "../../types.ts";

/** Versions that serve, and those that are left ready beside them. */
export async function openedVersions(wj: Windjammer): Promise<readonly Version[]> {
  const models = await wj.models();
  const all = await Promise.all(
    models.map(async ({ name, currentVersion }) =>
      (await wj.versions(name)).filter((each) => each.version === currentVersion || each.desiredReplicas > 0),
    ),
  );
  return all.flat();
}
