// A server that is not ours, with its Dockerfile: the Node template, on the image of the tests.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeTemplate } from "../../core/cli/init.ts";
import { tempFolder } from "../helpers/temp.ts";
import { BASE_IMAGE } from "./engine.ts";

/** @param entry the program that the container runs @returns the folder; it predicts the sums of rows */
export async function template(entry = "server.mjs"): Promise<string> {
  const folder = join(await tempFolder(), "server");
  await writeTemplate("node", folder);
  const recipe = await readFile(join(folder, "Dockerfile"), "utf8");
  const onOurs = recipe.replace(/^FROM .*/m, `FROM ${BASE_IMAGE}`).replace("server.mjs", entry);
  await writeFile(join(folder, "Dockerfile"), onOurs);
  return folder;
}
