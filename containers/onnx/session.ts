// Opens an ONNX file with the bundle's onnxruntime-node and runs it on tensors in the file's own layout.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { LoadContext } from "../loader.ts";
import type { Datatype } from "../protocol.ts";
import type { TensorSession } from "../tensor-model/session.ts";
import type { RowTensor, TensorData } from "../tensor-model/settings.ts";
import { bytesOf } from "../typed-arrays.ts";
import type { OnnxModelSettings } from "./settings.ts";

// The part of onnxruntime-node in use, so that neither checking nor building needs the package.
interface OrtTensor {
  readonly type: string;
  readonly data: TensorData;
  readonly dims: readonly number[];
}

interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(
    feeds: Readonly<Record<string, OrtTensor>>,
    fetches: readonly string[],
  ): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

interface Ort {
  readonly InferenceSession: { create(path: string, options: object): Promise<OrtSession> };
  readonly Tensor: new (type: string, data: TensorData, dims: readonly number[]) => OrtTensor;
}

/** onnxruntime's element types; it has no arrays for BF16. */
const ORT_TYPES: Readonly<Partial<Record<Datatype, string>>> = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP16: "float16",
  FP32: "float32",
  FP64: "float64",
  BYTES: "string",
};

export class Session implements TensorSession {
  readonly runtime = "onnxruntime";
  readonly #ort: Ort;
  readonly #session: OrtSession;
  readonly #inputs: readonly { readonly name: string; readonly type: string }[];
  readonly #fetches: readonly string[];

  private constructor(ort: Ort, session: OrtSession, settings: OnnxModelSettings) {
    this.#ort = ort;
    this.#session = session;
    this.#inputs = settings.inputs.map(({ name, datatype }) => ({ name, type: ortType(name, datatype) }));
    this.#fetches = settings.outputs.map(({ name }) => name);
  }

  /** @throws Error saying which package or file is missing, or what does not fit */
  static async open(settings: OnnxModelSettings, { modelDir, threads }: LoadContext): Promise<Session> {
    const ort = loadRuntime(modelDir);
    const path = join(modelDir, settings.file);
    if (!existsSync(path)) throw new Error(`the bundle has no model file ${settings.file}`);
    let session: OrtSession;
    try {
      // By path, not by content: external weight files are refused otherwise.
      session = await ort.InferenceSession.create(path, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        // Waiting threads that spin cost twice the CPU and gain nothing.
        ...(threads > 1 ? { extra: { session: { intra_op: { allow_spinning: "0" } } } } : {}),
        ...settings.sessionOptions,
      });
    } catch (error) {
      throw new Error(`onnxruntime cannot load ${settings.file}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    checkNames(settings, session);
    return new Session(ort, session, settings);
  }

  /** Tensors in the order of the settings, in and out. */
  async run(inputs: readonly RowTensor[]): Promise<RowTensor[]> {
    const feeds: Record<string, OrtTensor> = {};
    for (const [index, { name, type }] of this.#inputs.entries()) {
      const input = inputs[index];
      if (input !== undefined) feeds[name] = this.#tensor(name, type, input);
    }
    const outputs = await this.#session.run(feeds, this.#fetches);
    return this.#fetches.map((name) => {
      const output = outputs[name];
      if (output === undefined) throw new Error(`the model gave no output ${name}`);
      return { data: output.data, dims: output.dims };
    });
  }

  async close(): Promise<void> {
    await this.#session.release();
  }

  #tensor(name: string, type: string, { data, dims }: RowTensor): OrtTensor {
    // Its Tensor makes a Float16Array of half floats, which its native side then takes for an empty array.
    if (type === "float16" && ArrayBuffer.isView(data)) {
      const { buffer, byteOffset, byteLength } = bytesOf(data);
      const tensor = {
        type,
        dims,
        data: new Uint16Array(buffer, byteOffset, byteLength / 2),
        location: "cpu",
      };
      return tensor;
    }
    if (!ArrayBuffer.isView(data) && data.some((element) => typeof element !== "string"))
      throw new Error(
        `input ${name} has bytes that are no UTF-8 text, and onnxruntime takes text only; pass them as a tensor of UINT8`,
      );
    return new this.#ort.Tensor(type, data, dims);
  }
}

function loadRuntime(modelDir: string): Ort {
  try {
    return createRequire(join(modelDir, "model.js"))("onnxruntime-node") as Ort;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(
      code === "MODULE_NOT_FOUND"
        ? 'the package onnxruntime-node is not installed for this bundle; declare it with its exact version in the manifest: "packages": { "onnxruntime-node": "1.30.0" }'
        : `the package onnxruntime-node cannot be loaded: ${message}`,
      { cause: error },
    );
  }
}

function ortType(name: string, datatype: Datatype): string {
  const type = ORT_TYPES[datatype];
  if (type === undefined)
    throw new Error(`tensor ${name} is ${datatype}, which onnxruntime-node cannot take`);
  return type;
}

function checkNames({ file, inputs, outputs }: OnnxModelSettings, session: OrtSession): void {
  const declared = new Set(inputs.map(({ name }) => name));
  const missing = session.inputNames.filter((name) => !declared.has(name));
  if (missing.length > 0)
    throw new Error(`${file} needs inputs that the bundle does not name: ${missing.join(", ")}`);
  const surplus = [...declared].filter((name) => !session.inputNames.includes(name));
  if (surplus.length > 0) throw new Error(`${file} has no inputs named ${surplus.join(", ")}`);
  const unknown = outputs.filter(({ name }) => !session.outputNames.includes(name));
  if (unknown.length > 0)
    throw new Error(`${file} has no outputs named ${unknown.map(({ name }) => name).join(", ")}`);
}
