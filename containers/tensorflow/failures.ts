// Failures of TensorFlow that no input can mend, told by its messages, and the way out of each.
import type { TensorFlowModelSettings } from "./settings.ts";

interface Failure {
  readonly pattern: RegExp;
  /** What to say in front of TensorFlow's own words. */
  readonly advice: string;
}

const FAILURES: readonly Failure[] = [
  {
    pattern: /Could not find variable|uninitialized value|Resource \S+ does not exist/i,
    advice:
      "the SavedModel loads in Python only: its restore function fills other variables than its signature reads, as happens to a Keras 3 model inside a tf.Module; save it with model.export(folder) or keras.export.ExportArchive",
  },
  {
    pattern:
      /Op type not registered|NodeDef mentions attr|not in (?:Op|OpDef)<|min_consumer|GraphDef version/i,
    advice:
      "the TensorFlow library of tfjs-node (2.9.1 as its install script fetches it) is older than the model; export the model with TensorFlow 2.9 or older, or for TensorFlow.js or ONNX",
  },
  {
    pattern: /Unknown op '|not supported op|unsupported ops/i,
    advice:
      "TensorFlow.js does not know an operation of the model; deploy the SavedModel itself, or convert the model for ONNX",
  },
  {
    pattern: /Kernel '\S+' not registered|not yet implemented or has no kernel/i,
    advice:
      'the backend lacks an operation that the model needs; deploy it with backend: "cpu" (slow, knows more of them) or "tensorflow"',
  },
];

/** The reason, with a way out, why a model that failed so cannot serve at all; undefined: other inputs may do. */
export function whyItCannotServe(
  error: Error,
  { file, backend }: Pick<TensorFlowModelSettings, "file" | "backend">,
): string | undefined {
  const failure = FAILURES.find(({ pattern }) => pattern.test(error.message));
  if (failure === undefined) return undefined;
  const [words = ""] = error.message.split("\n");
  return `${file} cannot be served with backend "${backend}": ${failure.advice}. TensorFlow says: ${words}`;
}
