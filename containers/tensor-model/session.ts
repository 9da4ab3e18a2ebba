// Contract of a runtime's session: one loaded model that runs tensors in the model's own layout.
import type { RowTensor } from "./settings.ts";

export interface TensorSession {
  /** Name of the runtime, for the log: "onnxruntime". */
  readonly runtime: string;
  /** Tensors in the order of the settings, in and out. @throws what the runtime throws for inputs it cannot take */
  run(inputs: readonly RowTensor[]): Promise<RowTensor[]>;
  close(): Promise<void>;
}
