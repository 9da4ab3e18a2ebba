// What of a batch that came back is used again.
import { expect, test } from "vitest";
import { ModelError } from "../../../core/errors.ts";
import { answeredOf, type Flight } from "../../../core/query/flight.ts";
import { Pending } from "../../../core/query/pending.ts";
import { jsonOutputs } from "./fakes.ts";

const pending = (isSettled: boolean): Pending =>
  new Pending({
    row: { tensors: [], key: "" },
    arrivedAt: 0,
    deadlineAt: Infinity,
    isTrial: false,
    isAbandoned: false,
    isSettled,
    settle: () => undefined,
  });

test("an ejected replica is tried with a query that was answered, and of which nobody has given the memory back", () => {
  const batch = [pending(true), pending(false), pending(false)];
  const outputs = jsonOutputs(["1", "2", "3"]);
  const errors = [undefined, new ModelError("bad input"), undefined];
  expect(answeredOf({ batch } as unknown as Flight, { kind: "outputs", outputs, errors })).toBe(batch[2]);
  expect(
    answeredOf({ batch: [pending(true)] } as unknown as Flight, {
      kind: "outputs",
      outputs,
      errors: undefined,
    }),
  ).toBeUndefined();
});
