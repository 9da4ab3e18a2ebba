// The user's functions around a model: which exports of which module they are, and their bundle.
import { z } from "zod";
import type { ProcessingSettings } from "../../containers/tensor-model/settings.ts";
import { InvalidOptionsError, type BundleReport } from "../../core/index.ts";
import { locationSchema } from "../location.ts";
import { bundleModule, moduleExports } from "../module-bundle.ts";

/** A module whose exports `preprocess` and `postprocess` are used, those it has; or other names for them. */
export type Processing =
  | string
  | URL
  | {
      readonly module: string | URL;
      readonly preprocess?: string | undefined;
      readonly postprocess?: string | undefined;
    };

export const processingSchema: z.ZodType<Processing> = z.union(
  [
    locationSchema,
    z.strictObject({
      module: locationSchema,
      preprocess: z.string().min(1).optional(),
      postprocess: z.string().min(1).optional(),
    }),
  ],
  "expected a module (path or file: URL), or { module, preprocess?, postprocess? } with names of its exports",
);

/** Name of the bundled module. */
const PROCESSING_FILE = "processing.mjs";
export const PROCESSING_FILES: readonly string[] = [PROCESSING_FILE, `${PROCESSING_FILE}.map`];

export interface BundledProcessing {
  readonly settings: ProcessingSettings;
  readonly packages: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

/** @throws as `bundleModule`, and InvalidOptionsError when the module has neither function */
export async function bundleProcessing(
  source: {
    readonly processing: Processing;
    readonly packages: Readonly<Record<string, string>> | undefined;
  },
  folder: string,
  report: BundleReport,
): Promise<BundledProcessing> {
  const { packages } = source;
  const { module, ...named } = asObject(source.processing);
  const names = (named.preprocess ?? named.postprocess) ? named : await conventional(module, packages);
  const settings = {
    file: PROCESSING_FILE,
    ...(names.preprocess === undefined ? {} : { preprocess: names.preprocess }),
    ...(names.postprocess === undefined ? {} : { postprocess: names.postprocess }),
  };
  const exports = [names.preprocess, names.postprocess].filter((name) => name !== undefined);
  const bundled = await bundleModule(
    { module, exports, packages },
    { folder, fileName: PROCESSING_FILE },
    report,
  );
  return { settings, ...bundled };
}

interface Names {
  readonly preprocess?: string | undefined;
  readonly postprocess?: string | undefined;
}

function asObject(processing: Processing): Names & { readonly module: string | URL } {
  return typeof processing === "string" || processing instanceof URL ? { module: processing } : processing;
}

async function conventional(
  module: string | URL,
  packages: Readonly<Record<string, string>> | undefined,
): Promise<Names> {
  const exports = await moduleExports(module, packages);
  const has = (name: string): string | undefined => (exports?.includes(name) === true ? name : undefined);
  const names = { preprocess: has("preprocess"), postprocess: has("postprocess") };
  if (names.preprocess !== undefined || names.postprocess !== undefined) return names;
  const found =
    exports === undefined
      ? "is CommonJS, whose exports show only when it runs"
      : `exports neither "preprocess" nor "postprocess"${exports.length === 0 ? "" : `, but ${exports.join(", ")}`}`;
  throw new InvalidOptionsError(
    `processing: ${String(module)} ${found}; name the functions, as in processing: { module, postprocess: "…" }`,
    { details: { option: "processing", exports } },
  );
}
