// The contract of a Python model: from the options, else from contract.json in its folder, else values in, JSON out.
import { z } from "zod";
import {
  DATATYPES,
  InvalidModelFileError,
  InvalidOptionsError,
  valueContract,
  type Contract,
  type Datatype,
  type InputType,
  type TensorSpec,
} from "../../core/index.ts";
import { INPUT_TYPE_NAMES, longInputType, SHOWN_INPUT_TYPES, type InputTypeName } from "../input-types.ts";
import { readText, type ModelSource } from "./source.ts";

const CONTRACT_FILE = "contract.json";

/** One tensor that a Python model takes or gives, as a numpy array with the batch on its first axis. */
export interface PythonTensor {
  readonly name: string;
  /** Element type: "FP32", "INT64", "BOOL", "BYTES", … */
  readonly datatype: Datatype;
  /** Shape of one row, without the batch; -1 is a free size. Default []: one element a row. */
  readonly shape?: readonly number[] | undefined;
  /** What BYTES elements hold. Default "str". */
  readonly contentType?: "str" | "bytes" | "json" | undefined;
}

export interface ContractOptions {
  /**
   * What one query holds: "integers", "floats", "doubles", "bytes", "strings", "json", Clipper's short forms, or "tensor",
   * which `inputs` makes the default. Default "json".
   */
  readonly inputType?: InputTypeName | "tensor" | undefined;
  /** Tensors that `predict` gets: one numpy array, or a dict of them by name. Default: a list with one value a query. */
  readonly inputs?: readonly PythonTensor[] | undefined;
  /** Tensors that it returns: one array, or a dict by name. Default: a list with one JSON value a query. */
  readonly outputs?: readonly PythonTensor[] | undefined;
  /** Most rows in one call. Default: as the batching policy decides. */
  readonly maxBatchSize?: number | undefined;
}

const tensors = z
  .array(
    z.strictObject({
      name: z.string().min(1).max(200),
      datatype: z.enum(DATATYPES),
      shape: z.array(z.int().min(-1)).max(32).optional(),
      contentType: z.enum(["str", "bytes", "json"]).optional(),
    }),
  )
  .min(1)
  .max(1_000);

/** Fields of a zod object for `ContractOptions`. */
export const contractShape: {
  readonly inputType: z.ZodType<ContractOptions["inputType"]>;
  readonly inputs: z.ZodType<ContractOptions["inputs"]>;
  readonly outputs: z.ZodType<ContractOptions["outputs"]>;
  readonly maxBatchSize: z.ZodType<ContractOptions["maxBatchSize"]>;
} = {
  inputType: z.enum([...INPUT_TYPE_NAMES, "tensor"], `expected "tensor", ${SHOWN_INPUT_TYPES}`).optional(),
  inputs: tensors.optional(),
  outputs: tensors.optional(),
  maxBatchSize: z.int().min(1).max(100_000).optional(),
};

const contractFile = z.strictObject(contractShape);

export interface PythonContract {
  readonly inputType: InputType;
  readonly contract: Contract;
  readonly hasTensors: boolean;
}

/** @throws InvalidModelFileError (contract.json), InvalidOptionsError (fields that do not go together) */
export async function contractOf(source: ModelSource, options: ContractOptions): Promise<PythonContract> {
  const given = { ...(await readContract(source)), ...withoutUndefined(options) };
  const { inputs, outputs, maxBatchSize } = given;
  const inputType = inputTypeOf(given);
  const values = valueContract(inputType === "tensor" ? "json" : inputType);
  return {
    inputType,
    contract: {
      inputs: inputs?.map(specOf) ?? values.inputs,
      outputs: outputs?.map(specOf) ?? values.outputs,
      isBatched: true,
      ...(maxBatchSize === undefined ? {} : { maxBatchSize }),
    },
    hasTensors: inputs !== undefined || outputs !== undefined,
  };
}

function inputTypeOf({ inputType, inputs }: ContractOptions): InputType {
  const name = inputType ?? (inputs === undefined ? "json" : "tensor");
  if ((name === "tensor") === (inputs !== undefined)) return name === "tensor" ? name : longInputType(name);
  throw new InvalidOptionsError(
    inputs === undefined
      ? 'inputType "tensor" needs inputs: the names, datatypes and shapes of the tensors'
      : `inputs are tensors, so inputType is "tensor", not "${name}"; leave one of them out`,
    { details: { option: "inputType" } },
  );
}

async function readContract(source: ModelSource): Promise<ContractOptions> {
  const text = await readText(source, CONTRACT_FILE);
  if (text === undefined) return {};
  const where = `${CONTRACT_FILE} in ${source.path}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidModelFileError(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const checked = contractFile.safeParse(value);
  if (checked.success) return withoutUndefined(checked.data);
  throw new InvalidModelFileError(`${where}: ${z.prettifyError(checked.error)}`, {
    details: { path: source.path },
  });
}

function specOf({ name, datatype, shape = [], contentType }: PythonTensor): TensorSpec {
  const kind = contentType ?? (datatype === "BYTES" ? "str" : undefined);
  return { name, datatype, shape, ...(kind === undefined ? {} : { contentType: kind }) };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
