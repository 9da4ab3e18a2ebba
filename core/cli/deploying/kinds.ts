// The kinds of models that the command line tells apart.

/** What `--as` takes. */
export const MODEL_KINDS = [
  "onnx",
  "tensorflow",
  "function",
  "python",
  "dockerfile",
  "command",
  "image",
  "url",
] as const;
export type ModelKind = (typeof MODEL_KINDS)[number];
