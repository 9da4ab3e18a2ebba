// Replies that are too large: refused whole and in words, before they are built.
import { describe, expect, test } from "vitest";
import {
  BatchTooLargeError,
  InvalidModelOutputError,
  ModelError,
  type WindjammerError,
} from "../../../../core/errors.ts";
import { clipperReply } from "../../../../core/frontend/dialects/clipper-reply.ts";
import type { Outcome } from "../../../../core/query/query.ts";
import { jsonOutputs, valueManifest } from "../../query/fakes.ts";

const manifest = valueManifest("doubles");

function answers(texts: readonly string[]): readonly Outcome[] {
  const outputs = jsonOutputs(texts);
  return texts.map((_, index) => ({ kind: "ok", outputs, index, version: "1" }));
}

function status(outcomes: readonly Outcome[]): number {
  return clipperReply({ outcomes, firstId: 1, manifest, isBatch: true }).status;
}

function refusal(outcomes: readonly Outcome[], isBatch: boolean, limit?: number): WindjammerError {
  try {
    clipperReply({ outcomes, firstId: 1, manifest, isBatch }, limit);
  } catch (error) {
    return error as WindjammerError;
  }
  throw new Error("there was a reply");
}

describe("outputs that are larger than a reply may be", () => {
  test("are refused for one input with its length", () => {
    const error = refusal(answers([`"${"y".repeat(1000)}"`]), false, 1000);
    expect(error).toBeInstanceOf(InvalidModelOutputError);
    expect(error.message).toMatch(
      /^the model's output is 1042 characters of JSON and a reply may have 1000;/,
    );
  });

  test("are refused for a list with how many fit", () => {
    const error = refusal(answers(["1", "2", `"${"y".repeat(1000)}"`, "4"]), true, 1000);
    expect(error).toBeInstanceOf(BatchTooLargeError);
    expect(error.statusCode).toBe(413);
    expect(error.details).toEqual({ inputs: 4, fitting: 2, limit: 1000 });
  });

  test("are refused by the list before they are joined to more than a string can hold", () => {
    const text = `"${"y".repeat(2 ** 25)}"`;
    const outputs = jsonOutputs([text]);
    const outcomes = Array.from({ length: 17 }, (): Outcome => ({
      kind: "ok",
      outputs,
      index: 0,
      version: "1",
    }));
    const error = refusal(outcomes, true);
    expect(error).toBeInstanceOf(BatchTooLargeError);
    expect(error.details).toMatchObject({ fitting: 7 });
  });
});

test("a list whose queries all failed has the first one's status; one prediction makes it 200", () => {
  const failed: Outcome = { kind: "error", error: new ModelError("it threw") };
  expect(status([failed, failed])).toBe(500);
  expect(status([failed, ...answers(["1"])])).toBe(200);
  expect(status([])).toBe(200);
});
