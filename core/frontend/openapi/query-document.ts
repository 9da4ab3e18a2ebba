// The OpenAPI 3.1 documents of the query API: one of every path, and one of each application with its model's schemas.
import type { JsonObject, JsonValue, Manifest } from "../../../containers/protocol.ts";
import type { Tensor } from "../../../containers/tensors.ts";
import { madeUpInput } from "../../deploy/made-up-input.ts";
import { decodeInput } from "../../query/rows.ts";
import type { Target } from "../../query/router.ts";
import { packageVersion } from "../../version.ts";
import { jsonTensor } from "../dialects/oip/infer-reply.ts";
import { tensorOf } from "../dialects/oip/input-rows.ts";
import { inferInputs, inferOutputs, inputSchema, outputSchema } from "./contract-schema.ts";
import { openApiDocument, type OpenApiDocument, type Operation } from "./document.ts";
import { type QueryOptions, queryOperations } from "./query-operations.ts";
import { querySchemas } from "./query-schemas.ts";
import { relocated } from "./relocate.ts";

const ERRORS =
  "Errors are `{ error, message, details }` with a stable code; in the Open Inference Protocol, and where hosts ask, " +
  "`{ error }` with a message.";

/** Every path of every dialect. */
export function queryDocument(options: QueryOptions): OpenApiDocument {
  const named = querySchemas({ hasDefault: true, speaksClipper: options.speaksClipper });
  return openApiDocument({
    title: "Windjammer query API",
    description: `Predictions in several dialects over the same models. What an application's model takes and gives is in a document of its own, \`/<application>/openapi.json\`. ${ERRORS}`,
    version: packageVersion(),
    named,
    operations: queryOperations(named, options),
  });
}

/** One application's paths, with the schemas of its current version's input and output, and bodies to try. */
export function applicationDocument(target: Target, { speaksClipper }: QueryOptions): OpenApiDocument {
  const { application, version, manifest } = target;
  const { name, defaultOutput } = application;
  const named = querySchemas({ hasDefault: defaultOutput !== undefined, speaksClipper });
  const examples = examplesOf(target);
  const operations = queryOperations(named, { speaksClipper, vertex: undefined })
    .filter((each) => each.isOpen === true && ONE_MODEL.test(each.path) && !each.path.includes("{version}"))
    .filter(({ path }) => takesText(manifest) || !/\/generate(?:_stream)?$/.test(path))
    .map((each) => operationOf(each, name, examples[each.path]));
  const served =
    version === undefined ? "No model is linked." : `Model ${version.model}, version ${version.version}.`;
  const document = openApiDocument({
    title: `Application ${name}`,
    description: `${served} ${ERRORS}`,
    version: packageVersion(),
    named,
    operations,
  });
  const own: Record<string, JsonObject> = {};
  if (manifest !== undefined) {
    own["Input"] = placed("Input", inputSchema(manifest));
    own["Output"] = placed("Output", outputSchema(manifest));
    own["InferInputs"] = inferInputs(manifest.contract);
    own["OutputName"] = { enum: manifest.contract.outputs.map((spec) => spec.name) };
    own["InferOutputs"] = inferOutputs(manifest.contract);
  }
  if (defaultOutput !== undefined) own["DefaultOutput"] = { const: defaultOutput };
  const { components } = document;
  return { ...document, components: { ...components, schemas: { ...components.schemas, ...own } } };
}

/** As the application's own path has it. */
function operationOf(each: Operation, name: string, example: JsonValue | undefined): Operation {
  const path = each.path.replace(ONE_MODEL, name);
  return { ...each, path, params: undefined, ...(example === undefined ? {} : { example }) };
}

const ONE_MODEL = /\{(?:application|model)\}/;

function placed(name: string, schema: JsonObject): JsonObject {
  return relocated(schema, `#/components/schemas/${name}`);
}

/** Vectors of numbers are no text. */
function takesText(manifest: Manifest | undefined): boolean {
  return !["integers", "floats", "doubles"].includes(manifest?.inputType ?? "");
}

/** Bodies to try, by path. */
function examplesOf({ version, manifest }: Target): Readonly<Record<string, JsonValue>> {
  if (manifest === undefined) return {};
  const input = version?.settings.examples[0]?.input ?? madeUpInput(manifest).value;
  const infer = inferExample(manifest, input);
  return {
    "/{application}/predict": { input },
    "/v1/models/{model}:predict": { instances: [input] },
    ...(infer === undefined ? {} : { "/v2/models/{model}/infer": infer }),
  };
}

/** The input as tensors in JSON; undefined where it is none, or JSON cannot hold it. */
function inferExample(manifest: Manifest, input: JsonValue): JsonObject | undefined {
  const { inputs, isBatched } = manifest.contract;
  if (inputs.some(({ datatype }) => datatype === "FP16" || datatype === "BF16")) return undefined;
  try {
    const { tensors } = decodeInput(manifest, input, "input");
    const batch = isBatched ? [1] : [];
    return { inputs: inputs.map((spec, index) => tensorExample(tensorOf(spec, tensors[index], batch))) };
  } catch {
    return undefined;
  }
}

function tensorExample({ contentType, ...tensor }: Tensor): JsonObject {
  const { data, ...described } = tensor;
  return JSON.parse(
    jsonTensor({ ...described, contentType, chunks: [data], size: data.byteLength }),
  ) as JsonObject;
}
