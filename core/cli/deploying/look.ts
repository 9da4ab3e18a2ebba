// Looks where a target points, for recognize.ts to say what it is.
import { readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Found, Target } from "./recognize.ts";

const MAX_NAMES = 1_000;

/** @param base folder that relative paths start at */
export async function look(text: string, base: string = process.cwd()): Promise<Target> {
  if (/^https?:\/\//i.test(text)) return { text, path: text, found: { at: "url" } };
  const path = text.startsWith("file://")
    ? fileURLToPath(text)
    : resolve(base, text.replace(/^~(?=\/|$)/, homedir()));
  return { text, path, found: await found(path) };
}

async function found(path: string): Promise<Found> {
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory() === true) return { at: "folder", names: await namesIn(path) };
  if (stats !== undefined) return { at: "file" };
  return { at: "nothing", neighbours: await readdir(dirname(path)).catch(() => undefined) };
}

/** Names at the folder's top, and one level below it. */
async function namesIn(folder: string): Promise<readonly string[]> {
  const entries = (await readdir(folder, { withFileTypes: true })).slice(0, MAX_NAMES);
  const names = entries.map(({ name }) => name).toSorted();
  const inner = entries
    .filter((entry) => entry.isDirectory() && !/^(?:\..*|node_modules|venv|__pycache__)$/.test(entry.name))
    .slice(0, 50);
  for (const { name } of inner) {
    const below = await readdir(join(folder, name)).catch((): string[] => []);
    names.push(...below.slice(0, MAX_NAMES).map((each) => `${name}/${each}`));
  }
  return names;
}
