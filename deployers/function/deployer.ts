// Deployer of a function: a live one with what it holds, or a module's export with the files it imports.
import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { manifest, type BundleReport, type Deployer, type Manifest } from "../../core/index.ts";
import { INPUT_TYPE_NAMES, longInputType, SHOWN_INPUT_TYPES } from "../input-types.ts";
import { bundleModule } from "../module-bundle.ts";
import { writeLockfile } from "../lockfile.ts";
import { locationSchema, toPath } from "../location.ts";
import { checkExact, packageOptionsShape } from "../packages.ts";
import type { FunctionOptions } from "./options.ts";
import { wireSchema, zodSchema } from "./schema.ts";

const FILE = "function.mjs";
const aFunction = z.custom<object>((value) => typeof value === "function", "expected a function");

/** Deploys a function: an export of a module, or a live one. `deployFunction` is its typed form. */
export const functionDeployer: Deployer<FunctionOptions> = {
  name: "function",
  options: z
    .strictObject({
      inputType: z.enum(INPUT_TYPE_NAMES, `expected ${SHOWN_INPUT_TYPES}`).optional(),
      module: locationSchema.optional(),
      export: z.string().min(1).optional(),
      fn: aFunction.optional(),
      single: z.boolean().optional(),
      setup: aFunction.optional(),
      input: zodSchema.optional(),
      output: zodSchema.optional(),
      ...packageOptionsShape,
    })
    .check(({ value, issues }) => {
      const problem = combinationProblem(value);
      if (problem !== undefined)
        issues.push({ code: "custom", path: [problem[0]], message: problem[1], input: undefined });
    }),
  async bundle(options: FunctionOptions, folder: string, report: BundleReport): Promise<Manifest> {
    return options.fn === undefined
      ? bundleExport(options, folder, report)
      : bundleLive({ ...options, fn: options.fn }, folder, report);
  },
};

/** Which option is wrong with the others, and what was expected. */
function combinationProblem(
  options: FunctionOptions,
): readonly [option: keyof FunctionOptions, message: string] | undefined {
  const { fn, module, inputType, input } = options;
  if (fn === undefined && module === undefined) return ["module", "expected a module, or a function as fn"];
  const has = (name: keyof FunctionOptions): boolean => options[name] !== undefined;
  const strange = (fn === undefined ? (["single", "setup"] as const) : (["module", "export"] as const)).find(
    has,
  );
  if (strange !== undefined)
    return [strange, fn === undefined ? "expected it only with fn" : "expected none beside fn"];
  if (inputType === undefined && input === undefined)
    return ["inputType", `expected one of ${INPUT_TYPE_NAMES.join(", ")}, or a zod schema as input`];
  const isOther = input !== undefined && inputType !== undefined && inputType !== "json";
  return isOther ? ["inputType", "expected none beside input"] : undefined;
}

async function bundleExport(
  options: FunctionOptions,
  folder: string,
  report: BundleReport,
): Promise<Manifest> {
  const name = options.export ?? "predict";
  const module = options.module ?? "";
  const { packages, notes } = await bundleModule(
    { module, exports: [name], packages: options.packages },
    { folder, fileName: FILE },
    report,
  );
  const from = dirname(await realpath(toPath(module)));
  const locked = await writeLockfile({ packages, importerOf: () => from }, folder, report);
  return functionManifest(options, {
    packages,
    notes: [...notes, ...locked],
    model: { file: FILE, export: name },
  });
}

async function bundleLive(
  options: FunctionOptions & { readonly fn: object },
  folder: string,
  report: BundleReport,
): Promise<Manifest> {
  await checkExact(options.packages ?? {}, process.cwd());
  const { serialize, CLOSURE_FILES } = await import("./closure/serialize.ts");
  const { fn, setup } = options;
  const { projects, warnings, notes, files, ...captured } = serialize(
    { fn, setup, packages: options.packages },
    folder,
  );
  const bytes = Object.values(files).reduce((total, size) => total + size, 0);
  const names = Object.entries(captured.packages).map(([name, version]) => `${name} ${version}`);
  report(
    `captured fn in ${bytes} bytes ${names.length === 0 ? "without packages" : `with ${names.join(", ")}`}`,
    {
      bytes,
    },
  );
  for (const note of notes) report(note);
  for (const warning of warnings) report(`warning: ${warning}`);
  const packages = { ...captured.packages, ...options.packages };
  const importerOf = (name: string): string => projects[name] ?? process.cwd();
  const locked = await writeLockfile({ packages, importerOf }, folder, report);
  return functionManifest(options, {
    packages,
    notes: [...warnings, ...notes, ...locked],
    model: { ...CLOSURE_FILES, isSingle: options.single === true },
    isStateful: true,
  });
}

function functionManifest(
  { inputType = "json", input, output, allowScripts, environment }: FunctionOptions,
  fields: Pick<Manifest, "packages" | "notes" | "model" | "isStateful">,
): Manifest {
  const schemas = {
    ...(input === undefined ? {} : { input: wireSchema(input, "input") }),
    ...(output === undefined ? {} : { output: wireSchema(output, "output") }),
  };
  return manifest({
    deployer: "function",
    loader: "function",
    inputType: longInputType(inputType),
    ...fields,
    ...(Object.keys(schemas).length === 0 ? {} : { schemas }),
    allowScripts: allowScripts ?? {},
    environment: environment ?? {},
  });
}
