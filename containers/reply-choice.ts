// Which outputs an infer reply holds and how they travel: `outputs` and `binary_data_output` of the request.
import type { Contract } from "./protocol.ts";
import { asList, asObject, badRequest, type JsonFields, parametersOf, quoted } from "./request-error.ts";

/** Which outputs the caller wants, and how. */
export interface ReplyChoice {
  /** Indices into the contract's outputs, with how each travels. */
  readonly outputs: readonly { readonly index: number; readonly isBinary: boolean }[];
  /** How the error tensor travels. */
  readonly isBinary: boolean;
  readonly id: string | undefined;
  /** Equal for equal choices: part of the key of cached reply headers. */
  readonly key: string;
}

/** @throws RequestError (400) */
export function makeReplyChoice(request: JsonFields, contract: Contract, isBinary: boolean): ReplyChoice {
  const { id } = request;
  if (id !== undefined && typeof id !== "string") throw badRequest('"id" must be a string');
  const parameters = parametersOf(request);
  const isDefault = flag(parameters["binary_data_output"], "binary_data_output") ?? isBinary;
  const listed = request["outputs"] === undefined ? [] : asList(request["outputs"], '"outputs"');
  const outputs =
    listed.length === 0
      ? contract.outputs.map((_, index) => ({ index, isBinary: isDefault }))
      : listed.map((output) => outputChoice(asObject(output, "an output"), contract, isDefault));
  refuseHalf(outputs, contract);
  const key = outputs.map((output) => `${output.index}${output.isBinary ? "b" : "j"}`).join();
  return { outputs, isBinary: isDefault, id, key };
}

function outputChoice(
  output: JsonFields,
  contract: Contract,
  isDefault: boolean,
): { index: number; isBinary: boolean } {
  const index = contract.outputs.findIndex(({ name }) => name === output["name"]);
  if (index === -1)
    throw badRequest(
      `unknown output ${quoted(output["name"])}; the outputs are ${contract.outputs.map(({ name }) => quoted(name)).join(", ")}`,
    );
  const parameters = parametersOf(output);
  if (parameters["classification"] !== undefined)
    throw badRequest(`output ${quoted(output["name"])}: classification is not supported`);
  return { index, isBinary: flag(parameters["binary_data"], "binary_data") ?? isDefault };
}

function refuseHalf(outputs: ReplyChoice["outputs"], contract: Contract): void {
  for (const { index, isBinary } of outputs) {
    const spec = contract.outputs[index];
    if (!isBinary && (spec?.datatype === "FP16" || spec?.datatype === "BF16"))
      throw badRequest(
        `output ${quoted(spec.name)} is ${spec.datatype}, which JSON cannot hold; set parameters.binary_data_output`,
      );
  }
}

function flag(value: unknown, name: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw badRequest(`${name} must be true or false`);
}
