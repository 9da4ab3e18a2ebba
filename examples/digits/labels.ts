// Functions around the digits network: what callers get instead of raw scores.
import type { Postprocess } from "windjammer";

/** The best digit of each image, and how sure the network is. */
export const postprocess: Postprocess = (outputs) =>
  outputs.map(({ scores }) => {
    const values = Array.from(scores?.data as Float32Array);
    const confidence = Math.max(...values);
    return { digit: values.indexOf(confidence), confidence: Number(confidence.toFixed(4)) };
  });
