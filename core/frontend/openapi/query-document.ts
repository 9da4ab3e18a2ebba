// The OpenAPI 3.1 documents of the query API: one of every path, and one of each application with its model's schemas.
import type { JsonObject, JsonValue, TensorSpec } from "../../../containers/protocol.ts";
import { madeUpInput } from "../../deploy/made-up-input.ts";
import type { Target } from "../../query/router.ts";
import { packageVersion } from "../../version.ts";
import { inputSchema, outputSchema } from "./contract-schema.ts";
import { openApiDocument, type OpenApiDocument, type Operation } from "./document.ts";
import { type QueryOptions, queryOperations } from "./query-operations.ts";
import { querySchemas } from "./query-schemas.ts";
import { relocated } from "./relocate.ts";

const ERRORS =
  "Errors are `{ error, message, details }` with a stable code; in the Open Inference Protocol, and where hosts ask, " +
  "`{ error }` with a message.";

/** Every path of every dialect. */
export function queryDocument(options: QueryOptions): OpenApiDocument {
  const named = querySchemas(true);
  return openApiDocument({
    title: "Windjammer query API",
    description: `Predictions in several dialects over the same models. What an application's model takes and gives is in a document of its own, \`/<application>/openapi.json\`. ${ERRORS}`,
    version: packageVersion(),
    named,
    operations: queryOperations(named, options),
  });
}

/** One application's paths, with the schemas of its current version's input and output, and bodies to try. */
export function applicationDocument(target: Target): OpenApiDocument {
  const { application, version, manifest } = target;
  const { name, defaultOutput } = application;
  const named = querySchemas(defaultOutput !== undefined);
  const examples = examplesOf(target);
  const operations = queryOperations(named, { speaksClipper: false, vertex: undefined })
    .filter((each) => each.isOpen === true && ONE_MODEL.test(each.path) && !each.path.includes("{version}"))
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

/** Bodies to try, by path. */
function examplesOf({ version, manifest }: Target): Readonly<Record<string, JsonValue>> {
  if (manifest === undefined) return {};
  const input = version?.settings.examples[0]?.input ?? madeUpInput(manifest).value;
  const { inputs, isBatched } = manifest.contract;
  const isJson = !inputs.some(({ datatype }) => datatype === "FP16" || datatype === "BF16");
  const tensors = inputs.map((spec) => tensorExample(spec, isBatched));
  return {
    "/{application}/predict": { input },
    "/v1/models/{model}:predict": { instances: [input] },
    ...(isJson ? { "/v2/models/{model}/infer": { inputs: tensors } } : {}),
  };
}

/** One row of zeros, or of empty texts and objects. */
function tensorExample({ name, datatype, shape, contentType }: TensorSpec, isBatched: boolean): JsonObject {
  const sizes = [...(isBatched ? [1] : []), ...shape.map((size) => Math.max(1, size))];
  const count = sizes.reduce((product, size) => product * size, 1);
  const zero = datatype === "BOOL" ? false : datatype === "BYTES" ? (contentType === "json" ? "{}" : "") : 0;
  return { name, datatype, shape: sizes, data: Array.from({ length: count }, () => zero) };
}
