// Inputs made up for tasks whose names and parameters are agreed: those of Backprop.
import type { JsonObject } from "../../containers/protocol.ts";

const text = "Ada wrote the first program. It was for a machine that did not exist yet.";
/** A PNG of one pixel, in base64. */
const image =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
const labels = ["science", "sports"];

const INPUTS: ReadonlyMap<string, JsonObject> = new Map<string, JsonObject>([
  ["qa", { question: "Who wrote the first program?", context: text }],
  ["text-classification", { text, labels }],
  ["image-classification", { image, labels }],
  ["image-vectorisation", { image }],
  ["text-vectorisation", { text }],
  ["image-text-vectorisation", { image, text }],
  ["text-generation", { text }],
  ["summarisation", { text }],
  ["emotion", { text }],
]);

/** Parameters as a caller of this task sends them; none for a task that is not known. */
export function taskInput(task: string): JsonObject {
  return INPUTS.get(task) ?? {};
}
