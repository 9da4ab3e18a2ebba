import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lane } from "../../../core/query/lane.ts";
import { Pending } from "../../../core/query/pending.ts";
import { testQuery } from "../../helpers/versions.ts";

function pendingAt(deadlineAt: number, name: number): Pending {
  return new Pending({ ...testQuery(name).query, deadlineAt });
}

describe("a lane", () => {
  it("holds queries by deadline, equal ones by arrival, over any order of adding and taking", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(20), fc.constant("take" as const)), { maxLength: 300 }),
        (steps) => {
          const lane = new Lane("");
          const model: { deadline: number; pending: Pending }[] = [];
          for (const [index, step] of steps.entries()) {
            if (step === "take") {
              expect(lane.shift()).toBe(model.shift()?.pending);
            } else {
              const pending = pendingAt(step === 20 ? Infinity : step, index);
              lane.add(pending);
              const at = model.findIndex(({ deadline }) => deadline > pending.query.deadlineAt);
              model.splice(at === -1 ? model.length : at, 0, { deadline: pending.query.deadlineAt, pending });
            }
            expect(lane.length).toBe(model.length);
            expect(lane.deadlineAt(0)).toBe(model[0]?.deadline ?? Infinity);
          }
        },
      ),
    );
  });

  it("stays right when thousands pass through it", () => {
    const lane = new Lane("");
    let taken = 0;
    for (let index = 0; index < 10_000; index++) {
      lane.add(pendingAt(index, index));
      if (index % 3 > 0) expect(lane.shift()?.query.deadlineAt).toBe(taken++);
    }
    while (lane.length > 0) expect(lane.shift()?.query.deadlineAt).toBe(taken++);
    expect(taken).toBe(10_000);
  });

  it("gives one from behind others, and keeps the order of the rest", () => {
    const lane = new Lane("");
    for (let index = 0; index < 5; index++) lane.add(pendingAt(index, index));
    lane.shift();
    const taken = [lane.remove(2), lane.remove(1), lane.remove(0), lane.remove(3)];
    expect(taken.map((pending) => pending?.query.deadlineAt)).toEqual([3, 2, 1, undefined]);
    expect([lane.length, lane.deadlineAt(0)]).toEqual([1, 4]);
  });
});
