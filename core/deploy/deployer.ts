// Contract of a deployer: a value that turns a user's model into a bundle. Plug-ins implement it; nothing is registered.
import type { z } from "zod";
import type { InputType, Manifest } from "../../containers/protocol.ts";

/** Said while bundling; becomes an event of the deployment's "bundle" phase on the client's side. */
export type BundleReport = (
  message: string,
  details?: { readonly [key: string]: string | number | boolean },
) => void;

/**
 * A deployer.
 *
 * `wj.deploy(deployer, options)` checks the options against `options`, gives `bundle` an empty folder, writes
 * `manifest.json` into it, and sends the folder to the server. A deployer therefore only writes model files and
 * says what they are.
 *
 * @example
 * const constant: Deployer<{ value: number }> = {
 *   name: "constant",
 *   options: z.object({ value: z.number() }),
 *   async bundle({ value }, folder) {
 *     await writeFile(join(folder, "function.mjs"), `export const predict = (inputs) => inputs.map(() => ${value});`);
 *     return manifest({ deployer: "constant", loader: "function", inputType: "json", model: { file: "function.mjs", export: "predict" } });
 *   },
 * };
 */
export interface Deployer<Options> {
  /** Lower-case noun, said in events: "onnx". */
  readonly name: string;
  /** Checks the deployer's own options; unknown keys are refused before. */
  readonly options: z.ZodType<Options>;
  /**
   * Writes the model's files into `folder` and describes them. Everything must be deterministic: equal options and
   * files give an equal bundle.
   * @throws a WindjammerError for what the user can mend (ModelFileNotFoundError, InvalidModelFileError, …)
   */
  bundle(options: Options, folder: string, report: BundleReport): Promise<Manifest>;
}

/** Shorthand for a manifest: what is left out gets its default. */
export interface ManifestFields extends Partial<Omit<Manifest, "format">> {
  readonly deployer: string;
  readonly loader: string;
  readonly inputType: InputType;
}

/** Contract of a model that takes one value a query and gives JSON: functions, and models with pre- and postprocessing. */
export function valueContract(inputType: Exclude<InputType, "tensor">): Manifest["contract"] {
  const numeric = { integers: "INT32", floats: "FP32", doubles: "FP64" } as const;
  const packed = { strings: "str", bytes: "bytes", json: "json" } as const;
  const input =
    inputType === "integers" || inputType === "floats" || inputType === "doubles"
      ? ({ name: "input", datatype: numeric[inputType], shape: [-1], isRagged: true } as const)
      : ({ name: "input", datatype: "BYTES", shape: [], contentType: packed[inputType] } as const);
  return {
    inputs: [input],
    outputs: [{ name: "output", datatype: "BYTES", shape: [], contentType: "json" }],
    isBatched: true,
  };
}

/**
 * Contract that is left to the model container: what it declares when it is first ready. For containers that are not
 * ours: kinds image, dockerfile, command and url.
 */
export const DECLARED_CONTRACT: Manifest["contract"] = { inputs: [], outputs: [], isBatched: true };

/** False while the contract is left to the container, and no replica has been ready yet. */
export function hasContract({ contract }: Pick<Manifest, "contract">): boolean {
  return contract.inputs.length > 0;
}

/** Completes a manifest. Without a contract, `inputType` gives it (not possible for "tensor"). */
export function manifest(fields: ManifestFields): Manifest {
  const { inputType, contract } = fields;
  if (contract === undefined && inputType === "tensor")
    throw new TypeError("a tensor model's manifest needs its contract");
  return {
    format: 1,
    deployer: fields.deployer,
    loader: fields.loader,
    ...(fields.container === undefined ? {} : { container: fields.container }),
    inputType,
    contract: contract ?? valueContract(inputType === "tensor" ? "json" : inputType),
    packages: fields.packages ?? {},
    allowScripts: fields.allowScripts ?? {},
    environment: fields.environment ?? {},
    ...(fields.schemas === undefined ? {} : { schemas: fields.schemas }),
    model: fields.model ?? {},
    notes: fields.notes ?? [],
  };
}
