// What the doctor found of one thing, and the parts of Windjammer that need it.

/** Parts that not everybody uses; --need makes what they want a need. */
export const PARTS = ["docker", "python", "onnx", "tensorflow", "tfjs", "grpc", "clipper", "docs"] as const;
export type Part = (typeof PARTS)[number];

export interface Finding {
  readonly name: string;
  /** warn: it works, for now. */
  readonly outcome: "ok" | "warn" | "missing";
  /** What is there, or what is wrong. */
  readonly found: string;
  /** Part that wants it; undefined: every server. */
  readonly part?: Part;
  /** Command that fixes it. */
  readonly fix?: string;
}
