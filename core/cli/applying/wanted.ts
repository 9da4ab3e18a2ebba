// What a config file asks for: its models found and bundled, and every application that they are to have.
import { isAbsolute, join } from "node:path";
import type { ApplicationConfig, ModelConfig } from "../../../deployers/index.ts";
import type { MadeBundle } from "../../client/bundle.ts";
import { InvalidOptionsError, toWindjammerError } from "../../errors.ts";
import { errorFromBody } from "../../error-replies.ts";
import type { Application } from "../../types.ts";
import { bundleModel, findModel, type FoundModel } from "../deploying/model.ts";
import type { LoadedConfig } from "./config-file.ts";

interface WantedModel {
  readonly model: FoundModel;
  readonly bundle: MadeBundle;
}

export interface WantedApplication extends Partial<Omit<Application, "inputType">> {
  readonly name: string;
  readonly model: string;
}

/** Its bundles are removed when it is disposed. */
export interface Wanted extends AsyncDisposable {
  readonly models: readonly WantedModel[];
  readonly applications: readonly WantedApplication[];
}

/**
 * Every model is found and its options are checked before the first one is bundled.
 * @throws what is wrong with a model, naming it by its field
 */
export async function findWanted(loaded: LoadedConfig, report: (message: string) => void): Promise<Wanted> {
  const entries = Object.entries(loaded.config.models ?? {});
  const found: FoundModel[] = [];
  for (const [name, entry] of entries)
    found.push(await named(loaded, name, () => findModel(requestOf(loaded, name, entry))));
  const applications = applicationsOf(loaded);
  await using bundles = new AsyncDisposableStack();
  const models: WantedModel[] = [];
  for (const model of found) {
    const bundle = await named(loaded, model.name, () => bundleModel(model, report));
    models.push({ model, bundle: bundles.use(bundle) });
  }
  const kept = bundles.move();
  return { models, applications, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function requestOf(
  { folder }: LoadedConfig,
  name: string,
  { source, as, options: more, processing, ...options }: ModelConfig,
): Parameters<typeof findModel>[0] {
  const { application: _, latencyObjectiveMs: __, defaultOutput: ___, cache: ____, ...own } = options;
  // Its application is a matter of its own.
  const all = { ...more, ...own, ...fromFolder(processing, folder), name, application: null };
  return { target: source, as, options: all, base: folder };
}

function fromFolder(
  processing: ModelConfig["processing"],
  folder: string,
): { readonly processing?: ModelConfig["processing"] } {
  if (processing === undefined) return {};
  const isRelative =
    typeof processing === "string" && !isAbsolute(processing) && !processing.startsWith("file:");
  return { processing: isRelative ? join(folder, processing) : processing };
}

/** The error with the place in the file, of the same class. */
async function named<T>({ file }: LoadedConfig, name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message, details } = toWindjammerError(error);
    throw errorFromBody({ error: code, message: `${file}: models.${name}: ${message}`, details });
  }
}

const SETTINGS = ["latencyObjectiveMs", "defaultOutput", "cache"] as const;

/** @throws InvalidOptionsError for one that the file declares twice */
function applicationsOf({ file, config }: LoadedConfig): readonly WantedApplication[] {
  const declared = Object.entries(config.applications ?? {});
  const applications = new Map<string, WantedApplication>(
    declared.map(([name, entry]) => [name, { name, model: entry.model, ...settingsOf(entry) }]),
  );
  for (const [model, entry] of Object.entries(config.models ?? {})) {
    const name = ownApplication(model, entry, declared);
    const settings = settingsOf(entry);
    if (name === undefined) {
      const [field] = Object.keys(settings);
      if (field === undefined) continue;
      throw new InvalidOptionsError(
        `${file}: models.${model}.${field} belongs to an application, and this model has none of its own; write it into applications`,
        { details: { field: `models.${model}.${field}` } },
      );
    }
    if (applications.has(name)) {
      throw new InvalidOptionsError(
        `${file}: application ${name} is declared by models.${model} and elsewhere in the file; leave one of them out`,
        { details: { field: `models.${model}.application` } },
      );
    }
    applications.set(name, { name, model, ...settings });
  }
  return [...applications.values()];
}

function ownApplication(
  model: string,
  { application }: ModelConfig,
  declared: readonly (readonly [string, ApplicationConfig])[],
): string | undefined {
  if (application !== undefined) return application ?? undefined;
  return declared.some(([, entry]) => entry.model === model) ? undefined : model;
}

function settingsOf(entry: Pick<ModelConfig, (typeof SETTINGS)[number]>): Partial<WantedApplication> {
  return Object.fromEntries(
    SETTINGS.filter((field) => entry[field] !== undefined).map((field) => [field, entry[field]]),
  );
}
