// Finds, loads and checks a config file. What is wrong is named by its field.
import { access, readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import type { ServerFileOptions, WindjammerConfig } from "../../../deployers/index.ts";
import { serverOptionsSchema } from "../../config.ts";
import { describeIssues, knownKeys, REPORT_INPUT } from "../../deploy/issues.ts";
import { cacheSchema, jsonValueSchema, latencyObjectiveSchema, nameSchema } from "../../deploy/options.ts";
import { InvalidOptionsError, isNodeError, ModelFileNotFoundError } from "../../errors.ts";
import { MODEL_KINDS } from "../deploying/kinds.ts";

/** Looked for in this order, in the current folder. */
const FILES = ["ts", "mts", "js", "mjs", "json"].map((suffix) => `windjammer.config.${suffix}`);

export interface LoadedConfig {
  /** As it is shown. */
  readonly file: string;
  /** Relative paths of the file start here. */
  readonly folder: string;
  readonly config: WindjammerConfig;
}

const noSwitch = z.undefined("expected none: what the file declares serves").optional();

/** Options of a model are checked by its deployer's schema, when it is known which that is; its application's here. */
const modelSchema = z.looseObject({
  application: nameSchema.nullable().optional(),
  latencyObjectiveMs: latencyObjectiveSchema.optional(),
  defaultOutput: jsonValueSchema.optional(),
  cache: cacheSchema.optional(),
  source: z.string().min(1),
  as: z.enum(MODEL_KINDS).optional(),
  name: z.undefined("expected none: its key is its name").optional(),
  switch: noSwitch,
  options: z.looseObject({ switch: noSwitch }).optional(),
});

const applicationSchema = z.strictObject({
  model: nameSchema,
  latencyObjectiveMs: latencyObjectiveSchema.optional(),
  defaultOutput: jsonValueSchema.optional(),
  cache: cacheSchema.optional(),
});

const configSchema = z.strictObject({
  server: z
    .looseObject({
      runtime: z.enum(["process", "docker"]).optional(),
      baseImage: z.string().min(1).optional(),
    })
    .optional(),
  models: z.record(nameSchema, modelSchema).optional(),
  applications: z.record(nameSchema, applicationSchema).optional(),
});

/**
 * @param given by `--config`; else one of the current folder is taken
 * @throws ModelFileNotFoundError, InvalidOptionsError naming the file and the field
 */
export async function loadConfig(given: string | undefined): Promise<LoadedConfig> {
  const file = given ?? (await findFile());
  const path = resolve(file);
  const value = await read(path, file);
  const parsed = configSchema.safeParse(value, REPORT_INPUT);
  if (!parsed.success) {
    const { text, details } = describeIssues(parsed.error, "field", knownKeys(configSchema) ?? []);
    throw new InvalidOptionsError(`${file}: ${text}`, { details });
  }
  const config = value as WindjammerConfig;
  if (config.server !== undefined) checkServer(config.server, file);
  return { file, folder: dirname(path), config };
}

async function findFile(): Promise<string> {
  for (const file of FILES) {
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  throw new ModelFileNotFoundError(
    `no config file in ${process.cwd()}: looked for ${FILES.join(", ")}; write one, or name it by --config`,
    { details: { folder: process.cwd() } },
  );
}

async function read(path: string, file: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    const why =
      isNodeError(error) && error.code === "ENOENT" ? "is not there" : `cannot be read: ${String(error)}`;
    throw new ModelFileNotFoundError(
      `config file ${file} ${why}; windjammer apply --config FILE names another`,
      {
        cause: error,
        details: { path },
      },
    );
  });
  if (file.endsWith(".json")) return parse(text, file);
  try {
    const module = (await import(pathToFileURL(path).href)) as { readonly default?: unknown };
    if (module.default !== undefined) return module.default;
  } catch (error) {
    throw new InvalidOptionsError(`${file} does not load: ${String(error)}`, { cause: error });
  }
  throw new InvalidOptionsError(`${file} has no default export; write export default defineConfig({ … })`);
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidOptionsError(`${file} is not JSON: ${String(error)}`, { cause: error });
  }
}

/** @throws InvalidOptionsError */
function checkServer(server: ServerFileOptions, file: string): void {
  const { runtime: _, baseImage: __, ...options } = server;
  const parsed = serverOptionsSchema.safeParse(options, REPORT_INPUT);
  if (parsed.success) return;
  const known = [...(knownKeys(serverOptionsSchema) ?? []), "runtime", "baseImage"];
  const { text, details } = describeIssues(parsed.error, "option", known);
  throw new InvalidOptionsError(`${file}: server: ${text}`, { details });
}

/** Its server options, with absolute paths. */
export function serverOptions({ config, folder }: LoadedConfig): ServerFileOptions {
  const { stateDir, cacheDir, ...rest } = config.server ?? {};
  return {
    ...rest,
    ...(stateDir === undefined ? {} : { stateDir: resolve(folder, stateDir) }),
    ...(cacheDir === undefined ? {} : { cacheDir: resolve(folder, cacheDir) }),
  };
}
