// The session options of onnxruntime that a bundle may carry: those that can be written down and touch no files.
import { z } from "zod";

/** Options of onnxruntime's `InferenceSession.create`, over the loader's own (threads by the CPU limit, sequential). */
export interface OnnxSessionOptions {
  /** Default `["cpu"]`. */
  readonly executionProviders?: readonly (string | { readonly name: string })[] | undefined;
  readonly intraOpNumThreads?: number | undefined;
  readonly interOpNumThreads?: number | undefined;
  /** Sizes of free dimensions by name; the contract has them fixed. */
  readonly freeDimensionOverrides?: Readonly<Record<string, number>> | undefined;
  readonly graphOptimizationLevel?: "disabled" | "basic" | "extended" | "layout" | "all" | undefined;
  readonly enableCpuMemArena?: boolean | undefined;
  readonly enableMemPattern?: boolean | undefined;
  readonly executionMode?: "sequential" | "parallel" | undefined;
  /** 0 verbose, 1 info, 2 warning, 3 error, 4 fatal. */
  readonly logSeverityLevel?: 0 | 1 | 2 | 3 | 4 | undefined;
  readonly logVerbosityLevel?: number | undefined;
  /** Configuration entries: `{ session: { intra_op: { allow_spinning: "0" } } }`. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

const threads = z.int().min(1).max(1024).optional();

export const sessionOptionsSchema: z.ZodType<OnnxSessionOptions> = z.strictObject({
  executionProviders: z
    .array(z.union([z.string().min(1), z.looseObject({ name: z.string().min(1) })]))
    .min(1)
    .optional(),
  intraOpNumThreads: threads,
  interOpNumThreads: threads,
  freeDimensionOverrides: z.record(z.string().min(1), z.int().min(1)).optional(),
  graphOptimizationLevel: z.enum(["disabled", "basic", "extended", "layout", "all"]).optional(),
  enableCpuMemArena: z.boolean().optional(),
  enableMemPattern: z.boolean().optional(),
  executionMode: z.enum(["sequential", "parallel"]).optional(),
  logSeverityLevel: z.literal([0, 1, 2, 3, 4]).optional(),
  logVerbosityLevel: z.int().min(0).optional(),
  extra: z.record(z.string(), z.json()).optional(),
});
