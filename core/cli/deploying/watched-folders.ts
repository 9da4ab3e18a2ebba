// Which folders hold what a model is made of.
import { access, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ModelKind } from "./kinds.ts";

/** A folder to watch, and whether those in it are watched as well. */
export interface WatchedFolder {
  readonly path: string;
  readonly isDeep: boolean;
}

/** A model that is a folder: all of it. A module: its project, since it imports. A model file: the folder that it is in. */
export async function watchedFolders(path: string, kind: ModelKind): Promise<readonly WatchedFolder[]> {
  if ((await stat(path)).isDirectory()) return [{ path, isDeep: true }];
  const folder = dirname(path);
  if (kind === "dockerfile" || path.endsWith("saved_model.pb")) return [{ path: folder, isDeep: true }];
  return kind === "function"
    ? [{ path: (await projectOf(folder)) ?? folder, isDeep: true }]
    : [{ path: folder, isDeep: false }];
}

async function projectOf(folder: string): Promise<string | undefined> {
  for (let at = folder; dirname(at) !== at; at = dirname(at)) {
    const isProject = await access(join(at, "package.json")).then(
      () => true,
      () => false,
    );
    if (isProject) return at;
  }
  return undefined;
}
