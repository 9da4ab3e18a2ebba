// Backprop's config.json: which tasks a model of its upload forms has.
import { z } from "zod";
import { InvalidModelFileError } from "../../core/index.ts";
import { readText, type ModelSource } from "./source.ts";

const CONFIG_FILE = "config.json";

const name = z
  .string()
  .regex(/^[a-z0-9][-a-z0-9]{0,63}$/, "expected a task's name such as text-classification");

/** Names of tasks, at least one. */
export const tasksSchema: z.ZodType<readonly string[]> = z.array(name).min(1).max(32);

const configFile = z.looseObject({ tasks: tasksSchema.optional(), task: name.optional() });

/** Tasks of the folder's config.json; none where it has no such file. @throws InvalidModelFileError */
export async function tasksOf(source: ModelSource): Promise<readonly string[]> {
  const text = await readText(source, CONFIG_FILE);
  if (text === undefined) return [];
  const where = `${CONFIG_FILE} in ${source.path}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidModelFileError(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const checked = configFile.safeParse(value);
  if (!checked.success)
    throw new InvalidModelFileError(`${where}: ${z.prettifyError(checked.error)}`, {
      details: { path: source.path },
    });
  const { tasks, task } = checked.data;
  return tasks ?? (task === undefined ? [] : [task]);
}
