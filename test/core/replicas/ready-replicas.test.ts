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

const paceOf = (): number => 1;
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
  expect([ready.take(paceOf), ready.take(paceOf), ready.take(paceOf)]).toEqual([one, two, undefined]);
  ready.update([two, three]);
  two.release();
  expect([
    ready.count,
    ready.idleCapacity(paceOf),
    ready.take(paceOf),
    ready.take(paceOf),
    ready.take(paceOf),
  ]).toEqual([2, 2, two, three, undefined]);
});

test("an ejected one gets no batch, is tried when it has rested, and rests longer with every try that fails", () => {
  for (const pauseMs of [1000, 2000, 4000]) {
    expect(one.health.eject("it fails", performance.now())).toBe(pauseMs);
    expect([ready.idleCapacity(paceOf), ready.hasOther(two)]).toEqual([1, false]);
    vi.advanceTimersByTime(pauseMs - 1);
    expect(ready.takeEjected()).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect([ready.take(paceOf), ready.take(paceOf)]).toEqual([two, undefined]);
    two.release();
    expect([ready.takeEjected(), ready.takeEjected()]).toEqual([one, undefined]);
    one.release();
  }
  expect([...ready.ejected]).toEqual([["r1", "it fails"]]);
  expect([one.health.noteAnswer(), ready.ejected.size]).toEqual([true, 0]);
  expect(one.health.eject("it fails again", performance.now())).toBe(1000);
});

test("a try whose end says nothing is not followed by the next at once, one that is answered lifts the pause", () => {
  one.health.eject("it fails", performance.now());
  vi.advanceTimersByTime(1000);
  expect(ready.takeEjected()).toBe(one);
  one.health.noteSent(performance.now());
  one.release();
  vi.advanceTimersByTime(1999);
  expect(ready.takeEjected()).toBeUndefined();
  vi.advanceTimersByTime(1);
  expect(ready.takeEjected()).toBe(one);
  one.health.noteSent(performance.now());
  one.health.noteSent(performance.now());
  one.release();
  vi.advanceTimersByTime(10);
  // From its end on, as long as it was to be.
  expect(one.health.eject("it fails", performance.now())).toBe(4000);
  vi.advanceTimersByTime(3999);
  expect(ready.takeEjected()).toBeUndefined();
  expect([one.health.noteAnswer(), one.health.isProbed]).toEqual([true, false]);
  expect(ready.take(paceOf)).toBe(one);
});

test("an ejected one is used all the same where no other is left", () => {
  one.health.eject("it fails", performance.now());
  ready.update([one]);
  expect([ready.idleCapacity(paceOf), ready.take(paceOf)]).toEqual([1, one]);
});

test("of several that hold more than one batch, that with the fewest gets the next", () => {
  const [big, small] = [replica("big", 3), replica("small", 2)];
  ready.update([big, small]);
  expect([ready.count, ready.crew.length, ready.idleCapacity(paceOf)]).toEqual([2, 5, 2]);
  expect([ready.take(paceOf), ready.take(paceOf), ready.take(paceOf), ready.take(paceOf)]).toEqual([
    big,
    small,
    big,
    small,
  ]);
  expect([ready.idleCapacity(paceOf), ready.take(paceOf), ready.take(paceOf)]).toEqual([0, big, undefined]);
  small.release();
  small.release();
  expect([ready.idleCapacity(paceOf), ready.take(paceOf)]).toEqual([1, small]);
});

test("one that is held, reserved, gone or passed over gets no batch", () => {
  const big = replica("big", 3);
  ready.update([big]);
  expect(ready.take(paceOf, new Set([big]))).toBeUndefined();
  big.hold();
  expect([ready.take(paceOf), ready.idleCapacity(paceOf)]).toEqual([undefined, 0]);
  big.resume();
  expect(ready.take(paceOf)).toBe(big);
  big.reserve();
  expect(ready.take(paceOf)).toBeUndefined();
  big.release();
  expect([ready.take(paceOf), ready.take(paceOf), big.taken]).toEqual([big, big, 2]);
  big.retire();
  expect(ready.take(paceOf)).toBeUndefined();
});

test("an ejected one that holds several is tried with one at a time", () => {
  const big = replica("big", 3);
  ready.update([big, two]);
  big.health.eject("it fails", performance.now());
  vi.advanceTimersByTime(1000);
  expect([ready.takeEjected(), ready.takeEjected()]).toEqual([big, undefined]);
  expect([ready.take(paceOf), ready.take(paceOf)]).toEqual([two, undefined]);
  ready.update([big]);
  expect(ready.take(paceOf)).toBeUndefined();
  big.release();
  expect([ready.take(paceOf), ready.take(paceOf)]).toEqual([big, undefined]);
});

test("failures of batches that were on their way together count as one", () => {
  const { health } = replica("r", 3);
  for (const sentAt of [0, 1, 2]) health.noteFailure(sentAt, 10);
  expect(health.isFailing).toBe(false);
  for (const at of [10, 20]) health.noteFailure(at, at + 5);
  expect(health.isFailing).toBe(true);
});

test("the fastest that is free is taken, the first of equals, and a slow one is a part of a free one", () => {
  ready.update([one, two, three]);
  const paces = new Map([
    [one, 4],
    [two, 1],
    [three, 1],
  ]);
  const pace = (of: Replica): number => paces.get(of) ?? 1;
  expect(ready.idleCapacity(pace)).toBe(2.25);
  expect([ready.take(pace), ready.idleCapacity(pace)]).toEqual([two, 1.25]);
  expect([ready.take(pace), ready.take(pace), ready.take(pace)]).toEqual([three, one, undefined]);
});

test("an ejected one is none of those that get batches, unless all are", () => {
  const before = ready.crew;
  expect(before).toEqual([one, two]);
  one.health.eject("it fails", performance.now());
  expect(ready.crew).toEqual([two]);
  expect(ready.crew).toBe(ready.crew);
  two.health.eject("it fails", performance.now());
  expect(ready.crew).toEqual([one, two]);
  one.health.noteAnswer();
  two.health.noteAnswer();
  expect(ready.crew).toBe(before);
});

test("those that get batches are chosen anew only when one is ejected, is back, comes or goes", () => {
  const big = replica("big", 3);
  ready.update([one, two, big]);
  two.health.eject("it fails", performance.now());
  const { crew } = ready;
  expect(crew).toEqual([one, big, big, big]);
  expect(ready.take(paceOf)).toBe(one);
  one.health.noteAnswer();
  two.health.eject("it fails again", performance.now());
  expect(ready.crew).toBe(crew);
  ready.update([two, big]);
  expect(ready.crew).toEqual([big, big, big]);
  ready.reinstate();
  expect(ready.crew).toEqual([two, big, big, big]);
});

test("one that is slow and holds several is given its part", () => {
  const [fast, slow] = [replica("fast", 4), replica("slow", 4)];
  ready.update([slow, fast]);
  const pace = (of: Replica): number => (of === slow ? 3 : 1);
  const taken = Array.from({ length: 8 }, () => ready.take(pace)?.id);
  expect(taken).toEqual(["fast", "fast", "slow", "fast", "fast", "slow", "slow", "slow"]);
});
