// A command line that asks a deployed application for a prediction, with an input made from its contract.
import type { JsonObject, JsonValue, Manifest, TensorSpec } from "../../../containers/protocol.ts";
import { madeUpInput } from "../../deploy/made-up-input.ts";

/** Longer bodies are made by the line itself. */
const MAX_BODY = 160;

interface Asking {
  /** An input that the model is known to answer; else one is made up. */
  readonly example?: JsonValue | undefined;
  /** Asked in place of the current one. */
  readonly version?: string | undefined;
}

/** @param url of the application's predictions */
export function curlLine(url: string, manifest: Manifest, { example, version }: Asking = {}): string {
  const input = example ?? madeUpInput(manifest).value;
  const body = JSON.stringify({ input, version });
  if (body.length <= MAX_BODY) return `curl -s ${url} -d ${quoted(body)}`;
  const made = madeByShell(manifest, example);
  if (made === undefined) {
    const flag = version === undefined ? "" : ` --version ${version}`;
    return `windjammer predict ${new URL(url).pathname.split("/")[1] ?? ""}${flag}`;
  }
  // Versions hold nothing that a shell or JSON would read otherwise.
  const field = version === undefined ? "" : `, \\"version\\": \\"${version}\\"`;
  return `curl -s ${url} -d "{\\"input\\": ${made}${field}}"`;
}

/** The flag of `windjammer predict` with an input made from the contract. */
export function inputFlag(manifest: Manifest): string {
  const input = JSON.stringify(madeUpInput(manifest).value);
  if (input.length <= MAX_BODY) return `--input ${quoted(input)}`;
  const made = madeByShell(manifest, undefined);
  return made === undefined ? "--file FILE" : `--input "${made}"`;
}

/** A POSIX shell's `$(…)` that gives the input's JSON. */
function madeByShell(manifest: Manifest, example: JsonValue | undefined): string | undefined {
  const program = madeBy(manifest, example);
  return program === undefined ? undefined : `$(node -p ${quoted(`JSON.stringify(${program})`)})`;
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** JavaScript for an input as long as it should be, written flat, which the endpoint takes for tensors. */
function madeBy({ inputType, contract }: Manifest, example: JsonValue | undefined): string | undefined {
  if (inputType !== "tensor") return undefined;
  if (example !== undefined)
    return isObject(example) ? fields(Object.entries(example), filled) : filled(example);
  const { inputs } = contract;
  const [only] = inputs;
  if (only !== undefined && inputs.length === 1) return zeros(only);
  return fields(
    inputs.map((spec) => [spec.name, spec]),
    zeros,
  );
}

function fields<T>(entries: readonly (readonly [string, T])[], text: (value: T) => string): string {
  return `{ ${entries.map(([name, value]) => `${JSON.stringify(name)}: ${text(value)}`).join(", ")} }`;
}

/** As many elements as the value has, all as its first one. */
function filled(value: JsonValue): string {
  if (!Array.isArray(value)) return JSON.stringify(value);
  const elements: readonly JsonValue[] = value.flat(Infinity);
  return `Array(${elements.length}).fill(${JSON.stringify(elements[0] ?? 0)})`;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function zeros({ shape, datatype }: TensorSpec): string {
  const count = shape.reduce((product, size) => product * Math.max(1, size), 1);
  const zero = datatype === "BYTES" ? '""' : datatype === "BOOL" ? "false" : "0";
  return shape.length === 0 ? zero : `Array(${count}).fill(${zero})`;
}
