// What a bundle's manifest must look like; the one check between an upload and a command line, a path or a loader.
import { isAbsolute, normalize } from "node:path/posix";
import { z } from "zod";
import {
  DATATYPES,
  ENV,
  ERROR_TENSOR,
  isForeign,
  type ContainerSource,
  type Contract,
  type Datatype,
  type JsonValue,
  type Manifest,
  type TensorSpec,
} from "../../containers/protocol.ts";
import { isExactVersion, isImageName, isPackageName } from "../package-names.ts";
import { jsonValueSchema } from "./options.ts";

const MAX_TENSORS = 1_000;
const MAX_RANK = 32;
const MAX_NAME_LENGTH = 1_000;
const MAX_ENTRIES = 1_000;
const MAX_TEXT_LENGTH = 100_000;
const MAX_URLS = 100;

const VARIABLE = /^[A-Z_][A-Z0-9_]*$/;
const RESERVED_PREFIX = "WINDJAMMER_";
/** Only these are given away: whoever deploys must not read the rest of the frontend's environment by it. */
const SECRET_VARIABLE = /^WINDJAMMER_SECRET_[A-Z0-9_]{1,100}$/;
const HEADER = /^[a-z][a-z0-9-]{0,99}$/;
/** Headers that say what the message is. */
const OWN_HEADERS =
  /^(?:content-.*|transfer-encoding|connection|keep-alive|upgrade|host|expect|te|trailer|inference-.*|windjammer-.*)$/;
/** Keys of `model` whose text names a file of the bundle: `file`, `files`, `weightsFile`, … */
const FILE_KEY = /^(?:files?|.*Files?)$/;
/** Of them only these numbers have a content type to travel in. */
const RAGGED: ReadonlySet<Datatype> = new Set(["INT32", "FP32", "FP64"]);

type Complain = (path: readonly PropertyKey[], message: string) => void;

/** A zod check made of complaints, each with its path. */
function complaints<T>(check: (value: T, complain: Complain) => void): z.core.CheckFn<T> {
  return ({ value, issues }) => {
    check(value, (path, message) => {
      issues.push({
        code: "custom",
        path: [...path],
        message,
        input: path.length === 0 ? undefined : at(value, path),
      });
    });
  };
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((inner, key) => (Object(inner) as Record<PropertyKey, unknown>)[key], value);
}

const tensorSpec: z.ZodType<TensorSpec> = z
  .strictObject({
    name: z.string().min(1).max(MAX_NAME_LENGTH),
    datatype: z.enum(DATATYPES),
    shape: z.array(z.int().min(-1)).max(MAX_RANK),
    contentType: z.enum(["json", "str", "bytes", "int32", "fp32", "fp64"]).exactOptional(),
    isRagged: z.boolean().exactOptional(),
    hasUnknownShape: z.boolean().exactOptional(),
  })
  .check(
    complaints<TensorSpec>((spec, complain) => {
      if (spec.name === ERROR_TENSOR) complain(["name"], "expected another name: this one carries errors");
      if (spec.contentType !== undefined && spec.datatype !== "BYTES")
        complain(["contentType"], `expected none: the datatype is ${spec.datatype}, not BYTES`);
      const isVector = spec.shape.length === 1 && spec.shape[0] === -1;
      if (spec.isRagged === true && !(isVector && RAGGED.has(spec.datatype)))
        complain(["isRagged"], "expected it only with shape [-1] of INT32, FP32 or FP64");
    }),
  );

const tensors = z
  .array(tensorSpec)
  .max(MAX_TENSORS)
  .check(
    complaints<readonly TensorSpec[]>((specs, complain) => {
      const seen = new Set<string>();
      for (const [index, { name }] of specs.entries()) {
        if (seen.has(name)) complain([index, "name"], "expected a name that is used once");
        seen.add(name);
      }
    }),
  );

/** What a version takes and gives; none of both is left to the server that runs. */
export const contractSchema: z.ZodType<Contract> = z.strictObject({
  // Whether there may be none, the whole manifest says.
  inputs: tensors,
  outputs: tensors,
  isBatched: z.boolean(),
  maxBatchSize: z.int().min(1).exactOptional(),
});

const foreignServer = {
  modelName: z.string().min(1).max(MAX_NAME_LENGTH).exactOptional(),
  modelVersion: z.string().min(1).max(MAX_NAME_LENGTH).exactOptional(),
  tensors: z.enum(["binary", "json"]).exactOptional(),
};
const imagePort = { port: z.int().min(1).max(65_535).exactOptional() };

/** What else it held would be lost on the way, or be a secret that anybody may read. */
const serverUrl = z
  .url({ protocol: /^https?$/ })
  .max(MAX_TEXT_LENGTH)
  .refine((text) => /^[^@?#]*$/.test(text), "expected a URL without user, password, query and fragment");

const headersFrom = entries(z.record(z.string(), z.string()), (name, variable, complain) => {
  if (!HEADER.test(name) || OWN_HEADERS.test(name))
    complain([name], 'expected the name of a header such as "authorization", in small letters');
  if (!SECRET_VARIABLE.test(variable))
    complain([name], "expected a variable of the server's environment, WINDJAMMER_SECRET_…");
});

const containerSource: z.ZodType<ContainerSource> = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("python") }),
  z.strictObject({
    kind: z.literal("image"),
    image: z.string().refine(isImageName, "expected the name of an image"),
    ...foreignServer,
    ...imagePort,
  }),
  z.strictObject({ kind: z.literal("dockerfile"), ...foreignServer, ...imagePort }),
  z.strictObject({
    kind: z.literal("command"),
    command: z.array(z.string().min(1).max(MAX_TEXT_LENGTH)).min(1).max(MAX_ENTRIES),
    ...foreignServer,
  }),
  z.strictObject({
    kind: z.literal("url"),
    urls: z.array(serverUrl).min(1).max(MAX_URLS),
    headersFrom: headersFrom.exactOptional(),
    ...foreignServer,
  }),
  z.strictObject({ kind: z.literal("clipper-rpc") }),
]);

const packages = entries(z.record(z.string(), z.string()), (name, version, complain) => {
  checkPackageName(name, complain);
  if (!isExactVersion(version))
    complain([name], `expected an exact version of package ${name}, such as 1.2.3, not a range or tag`);
});

const allowScripts = entries(z.record(z.string(), z.boolean()), (name, _, complain) => {
  checkPackageName(name, complain);
});

const environment = entries(z.record(z.string(), z.string()), (name, value, complain) => {
  if (!VARIABLE.test(name)) complain([name], "expected a variable name of A-Z, 0-9 and _");
  if (name.startsWith(RESERVED_PREFIX) || name === ENV.port || name === ENV.host)
    complain([name], `expected another variable: ${ENV.port} and ${RESERVED_PREFIX}… are set by Windjammer`);
  if (value.length > MAX_TEXT_LENGTH || value.includes("\0"))
    complain([name], `expected a value without NUL, of at most ${MAX_TEXT_LENGTH} characters`);
});

const modelSettings = z.record(z.string(), jsonValueSchema).check(
  complaints<Manifest["model"]>((value, complain) => {
    for (const { path, file } of filesOf(value)) {
      if (!isInside(file))
        complain(path, "expected the name of a file in the bundle, relative, with / and without ..");
    }
  }),
);

const jsonSchema = z.record(z.string(), jsonValueSchema).check(
  complaints<Manifest["model"]>((value, complain) => {
    try {
      z.fromJSONSchema(value);
    } catch (error) {
      complain([], `expected a JSON Schema: ${error instanceof Error ? error.message : String(error)}`);
    }
  }),
);

/**
 * A manifest from outside. Package names, exact versions, variables and the names of files are safe to put into
 * command lines and paths afterwards. In `model`, text under a key that is or ends in file or files (`file`,
 * `weightsFiles`) names files of the bundle; the schema holds them inside it.
 */
export const manifestSchema: z.ZodType<Manifest> = z
  .strictObject({
    format: z.literal(1, "expected 1; a bundle of another format needs another release of Windjammer"),
    deployer: z.string().min(1).max(100),
    loader: z.string().regex(/^[a-z0-9][-a-z0-9]{0,63}$/, "expected a loader's name (a-z, 0-9 and -)"),
    container: containerSource.exactOptional(),
    inputType: z.enum(["integers", "floats", "doubles", "bytes", "strings", "json", "tensor"]),
    contract: contractSchema,
    packages,
    allowScripts,
    environment,
    schemas: z
      .strictObject({ input: jsonSchema.exactOptional(), output: jsonSchema.exactOptional() })
      .exactOptional(),
    model: modelSettings,
    isStateful: z.boolean().exactOptional(),
    notes: z.array(z.string().max(MAX_TEXT_LENGTH)).max(MAX_ENTRIES),
  })
  .check(
    complaints<Manifest>(({ container, contract: { inputs, outputs } }, complain) => {
      const isLeftToServer = isForeign(container) && inputs.length + outputs.length === 0;
      if (isLeftToServer) return;
      if (inputs.length === 0) complain(["contract", "inputs"], "expected at least one");
      if (outputs.length === 0) complain(["contract", "outputs"], "expected at least one");
    }),
  );

function entries<V>(
  record: z.ZodRecord<z.ZodString, z.ZodType<V>>,
  check: (name: string, value: V, complain: Complain) => void,
): z.ZodType<Readonly<Record<string, V>>> {
  return record.check(
    complaints<Record<string, V>>((value, complain) => {
      const all = Object.entries(value);
      if (all.length > MAX_ENTRIES) complain([], `expected at most ${MAX_ENTRIES} entries`);
      for (const [name, each] of all.slice(0, MAX_ENTRIES)) check(name, each, complain);
    }),
  );
}

function checkPackageName(name: string, complain: Complain): void {
  if (!isPackageName(name)) complain([name], `expected a package name of npm, not ${JSON.stringify(name)}`);
}

/** A name in `model` that stands for a file of the bundle. */
export interface NamedFile {
  readonly path: readonly PropertyKey[];
  readonly file: string;
}

/** The files that `model` names, at any depth. */
export function filesOf(settings: Manifest["model"]): readonly NamedFile[] {
  const found: NamedFile[] = [];
  // A list of its own in place of recursion: depth is bounded where a manifest is read, but not for callers' objects.
  const open: { path: readonly PropertyKey[]; value: JsonValue; isFile: boolean }[] = [
    { path: [], value: settings, isFile: false },
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { path, value, isFile } = next;
    if (typeof value === "string" && isFile) found.push({ path, file: value });
    if (typeof value !== "object" || value === null) continue;
    const isList = Array.isArray(value);
    for (const [key, inner] of Object.entries(value)) {
      open.push({
        path: [...path, isList ? Number(key) : key],
        value: inner,
        isFile: isList ? isFile : FILE_KEY.test(key),
      });
    }
  }
  return found;
}

/** Whether a name is relative, written with "/", and does not leave the bundle's folder. */
export function isInside(name: string): boolean {
  if (name === "" || name.length > MAX_NAME_LENGTH || isAbsolute(name) || /[\\\0]/.test(name)) return false;
  return normalize(name) === name && name !== "." && !/^\.\.(?:\/|$)/.test(name) && !name.endsWith("/");
}
