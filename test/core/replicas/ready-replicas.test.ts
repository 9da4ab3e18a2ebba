// Which replica gets the next batch, and what an ejected one gets.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ReadyReplicas } from "../../../core/replicas/ready-replicas.ts";
import { Replica } from "../../../core/replicas/replica.ts";
import { transportTo } from "../../../core/replicas/transport.ts";

function replica(id: string, maxInFlight?: number): Replica {
  const occupant = { id, exited: new Promise<never>(() => undefined), tail: () => [] };
  return new Replica(occupant, transportTo({ socketPath: `/nonexistent/${id}` }), {
    isReady: async () => true,
    ...(maxInFlight === undefined ? {} : { maxInFlight }),
  });
}

let one: Replica;
let two: Replica;
let three: Replica;
let ready: ReadyReplicas;

beforeEach(() => {
  [one, two, three] = [replica("r1"), replica("r2"), replica("r3")];
  vi.useFakeTimers({ toFake: ["performance"] });
  ready = new ReadyReplicas();
  ready.update([one, two]);
});

afterEach(() => {
  vi.useRealTimers();
});

test("the first that is free is taken, none twice, and one that is gone no more", () => {
  expect([ready.take(), ready.take(), ready.take()]).toEqual([one, two, undefined]);
  ready.update([two, three]);
  two.release();
  expect([ready.count, ready.idleCount, ready.take(), ready.take(), ready.take()]).toEqual([
    2,
    2,
    two,
    three,
    undefined,
  ]);
});

test("an ejected one rests, is then tried before all others, and rests longer with every try that fails", () => {
  for (const pauseMs of [1000, 2000, 4000]) {
    expect(one.health.eject("it fails", performance.now())).toBe(pauseMs);
    expect([ready.idleCount, ready.hasOther(two)]).toEqual([1, false]);
    vi.advanceTimersByTime(pauseMs - 1);
    expect([ready.take(), ready.take()]).toEqual([two, undefined]);
    two.release();
    vi.advanceTimersByTime(1);
    expect(ready.take()).toBe(one);
    one.release();
  }
  expect([...ready.ejected]).toEqual([["r1", "it fails"]]);
  expect([one.health.noteAnswer(), ready.ejected.size]).toEqual([true, 0]);
  expect(one.health.eject("it fails again", performance.now())).toBe(1000);
});

test("an ejected one is used all the same where no other is left", () => {
  one.health.eject("it fails", performance.now());
  ready.update([one]);
  expect([ready.idleCount, ready.take()]).toEqual([1, one]);
});

test("of several that hold more than one batch, that with the fewest gets the next", () => {
  const [big, small] = [replica("big", 3), replica("small", 2)];
  ready.update([big, small]);
  expect([ready.count, ready.placeCount, ready.idleCount]).toEqual([2, 5, 2]);
  expect([ready.take(), ready.take(), ready.take(), ready.take()]).toEqual([big, small, big, small]);
  expect([ready.idleCount, ready.take(), ready.take()]).toEqual([0, big, undefined]);
  small.release();
  small.release();
  expect([ready.idleCount, ready.take()]).toEqual([1, small]);
});

test("one that is held, reserved, gone or passed over gets no batch", () => {
  const big = replica("big", 3);
  ready.update([big]);
  expect(ready.take(new Set([big]))).toBeUndefined();
  big.hold();
  expect([ready.take(), ready.idleCount]).toEqual([undefined, 0]);
  big.resume();
  expect(ready.take()).toBe(big);
  big.reserve();
  expect(ready.take()).toBeUndefined();
  big.release();
  expect([ready.take(), ready.take(), big.taken]).toEqual([big, big, 2]);
  big.retire();
  expect(ready.take()).toBeUndefined();
});

test("an ejected one that holds several is tried with one at a time", () => {
  const big = replica("big", 3);
  ready.update([big, two]);
  big.health.eject("it fails", performance.now());
  vi.advanceTimersByTime(1000);
  expect([ready.take(), ready.take(), ready.take()]).toEqual([big, two, undefined]);
  ready.update([big]);
  expect(ready.take()).toBeUndefined();
  big.release();
  expect([ready.take(), ready.take()]).toEqual([big, undefined]);
});

test("failures of batches that were on their way together count as one", () => {
  const { health } = replica("r", 3);
  for (const sentAt of [0, 1, 2]) health.noteFailure(sentAt, 10);
  expect(health.isFailing).toBe(false);
  for (const at of [10, 20]) health.noteFailure(at, at + 5);
  expect(health.isFailing).toBe(true);
});
