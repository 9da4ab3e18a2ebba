// The text of a generated TypeScript client: types of each application's inputs and outputs, and the client itself.
import type { JsonObject, JsonValue } from "../../../containers/protocol.ts";
import { keyText, literal, typeOf, type TypeOptions, union } from "./schema-types.ts";

/** An application, and the schemas of its OpenAPI document. */
export interface DescribedApplication {
  readonly name: string;
  readonly schemas: Readonly<Record<string, JsonValue>>;
  /** What a line of the documentation says of it. */
  readonly description: string;
}

export interface ClientParts {
  readonly applications: readonly DescribedApplication[];
  /** Of the query API. */
  readonly url: string;
  /** Text of client-runtime.ts. */
  readonly runtime: string;
}

/** The same for the same applications, whatever order they come in. */
export function clientSource({ applications, url, runtime }: ClientParts): string {
  const sorted = applications.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const names = typeNames(sorted.map(({ name }) => name));
  const typed = sorted.map(({ name, schemas, description }) => ({
    name,
    schemas,
    description,
    type: names.get(name) ?? "",
  }));
  const fields = typed.map(
    ({ name, type, description }) =>
      `  /** ${description.replaceAll("*/", "* /").replaceAll(/\s+/g, " ")} */\n  readonly ${keyText(name)}: Application<${type}Input, ${type}Output>;`,
  );
  const values = typed.map(
    ({ name, type, schemas }) =>
      `    ${keyText(name)}: new ApplicationClient<${type}Input, ${type}Output>({ ...options, name: ${JSON.stringify(name)}${isBinary(schemas) ? ", isBinary: true" : ""} }),`,
  );
  return `// Made by \`windjammer export client\` from the contracts of what is deployed; make it again rather than edit it.
/* eslint-disable */

${typed.map(({ schemas, type }) => typesOf(schemas, type)).join("\n")}
/** The deployed applications by name. */
export interface Client {
${fields.join("\n")}
}

/** A client; without \`url\` of the server that it was made from. */
export function createClient({ url = ${JSON.stringify(url)}, ...rest }: ClientOptions = {}): Client {
  const options = { ...rest, url };
  return {
${values.join("\n")}
  };
}

${runtime.replace(/^\/\/.*\n+/, "")}
/** A client of the server that it was made from. Last, since it needs all of the above. */
export const client: Client = createClient();
`;
}

/** "my-app" is MyApp; where two would be the same, the later one is numbered. */
function typeNames(names: readonly string[]): ReadonlyMap<string, string> {
  // Names of the runtime's own types.
  const taken = new Set(["Client", "Application", "Prediction", "Predict"]);
  return new Map(
    names.map((name) => {
      const words = name.split(/[-_]+/).filter((word) => word !== "");
      const plain = words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("");
      const base = /^\d/.test(plain) ? `App${plain}` : plain;
      let type = base;
      for (let number = 2; taken.has(type); number++) type = `${base}${number}`;
      taken.add(type);
      return [name, type];
    }),
  );
}

function typesOf(schemas: Readonly<Record<string, JsonValue>>, type: string): string {
  const input = declarations(schemas["Input"], { place: "Input", type, isInput: true });
  const inputs = isBinary(schemas) ? union([input.own, "Uint8Array"]) : input.own;
  const output = declarations(schemas["Output"], { place: "Output", type, isInput: false });
  const standIn = schemas["DefaultOutput"];
  const constant = isObject(standIn) ? standIn["const"] : undefined;
  const outputs = constant === undefined ? output.own : union([output.own, widened(constant)]);
  return [
    ...input.parts,
    ...output.parts,
    `export type ${type}Input = ${inputs};`,
    `export type ${type}Output = ${outputs};`,
    "",
  ].join("\n");
}

/** Bytes, which JSON has as base64 text. */
function isBinary({ Input: schema }: Readonly<Record<string, JsonValue>>): boolean {
  return isObject(schema) && schema["type"] === "string" && schema["contentEncoding"] === "base64";
}

/** A default output such as -1 is a number that a prediction may be as well. */
function widened(value: JsonValue): string {
  return typeof value === "number" || typeof value === "string" || typeof value === "boolean"
    ? typeof value
    : literal(value);
}

interface Place {
  readonly place: string;
  readonly type: string;
  readonly isInput: boolean;
}

/** The schema's type, and those of the parts that it refers to, which may refer to each other and to themselves. */
function declarations(
  schema: JsonValue | undefined,
  { place, type, isInput }: Place,
): { readonly own: string; readonly parts: readonly string[] } {
  const root = `#/components/schemas/${place}`;
  const definitions = isObject(schema) && isObject(schema["$defs"]) ? schema["$defs"] : {};
  const nameOfPart = (name: string): string => `${type}${place}_${name.replaceAll(/\W/g, "_")}`;
  const options: TypeOptions = {
    isInput,
    nameOf: (reference) => {
      if (reference === root) return `${type}${place}`;
      const name = reference.startsWith(`${root}/$defs/`) ? reference.slice(root.length + 7) : undefined;
      return name !== undefined && name in definitions ? nameOfPart(name) : undefined;
    },
  };
  const parts = Object.entries(definitions).map(
    ([name, definition]) => `export type ${nameOfPart(name)} = ${typeOf(definition, options)};`,
  );
  return { own: typeOf(schema, options), parts };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
