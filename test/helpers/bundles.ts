// Bundles for tests: a function module as a deployer would bundle it, and a deployer that does so.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import {
  MANIFEST_FILE,
  type ContainerSource,
  type InputType,
  type Manifest,
} from "../../containers/protocol.ts";
import { manifest, type Deployer } from "../../core/deploy/deployer.ts";

export interface SourceOptions {
  /** An ES module with an export `predict(inputs)`. */
  readonly source: string;
  /** Default "json". */
  readonly inputType?: Exclude<InputType, "tensor"> | undefined;
  /** Default: our Node server. */
  readonly container?: ContainerSource;
}

/** Writes the module and gives its manifest. */
async function writeSource(folder: string, options: SourceOptions): Promise<Manifest> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "function.mjs"), options.source);
  return manifest({
    deployer: "test",
    loader: options.container?.kind ?? "function",
    ...(options.container === undefined ? {} : { container: options.container }),
    inputType: options.inputType ?? "json",
    model: { file: "function.mjs", export: "predict" },
  });
}

/** A whole bundle folder, ready to be packed. */
export async function writeBundle(folder: string, options: SourceOptions): Promise<void> {
  const content = await writeSource(folder, options);
  await writeFile(join(folder, MANIFEST_FILE), JSON.stringify(content));
}

/** Deploys a module given as text. */
export const sourceDeployer: Deployer<SourceOptions> = {
  name: "test",
  options: z.strictObject({
    source: z.string(),
    inputType: z.enum(["integers", "floats", "doubles", "bytes", "strings", "json"]).optional(),
  }),
  bundle: (options, folder) => writeSource(folder, options),
};

/** A module whose answer to each input is the JavaScript expression `output`, of `input`. */
export function answering(output: string): string {
  return `export function predict(inputs) { return inputs.map((input) => (${output})); }\n`;
}
