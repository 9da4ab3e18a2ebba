// Which replica gets the next batch, and what an ejected one gets.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ReadyReplicas } from "../../../core/replicas/ready-replicas.ts";
import { Replica } from "../../../core/replicas/replica.ts";
import { transportTo } from "../../../core/replicas/transport.ts";

function replica(id: string): Replica {
  const occupant = { id, exited: new Promise<never>(() => undefined), tail: () => [] };
  return new Replica(occupant, transportTo({ socketPath: `/nonexistent/${id}` }), async () => true);
}

const [one, two, three] = [replica("r1"), replica("r2"), replica("r3")];
const paceOf = (): number => 1;
let ready: ReadyReplicas;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
  ready = new ReadyReplicas();
  ready.update([one, two]);
});

afterEach(() => {
  vi.useRealTimers();
  for (const { health } of [one, two, three]) health.noteAnswer();
});

test("the first that is free is taken, none twice, and one that is gone no more", () => {
  expect([ready.take(paceOf), ready.take(paceOf), ready.take(paceOf)]).toEqual([one, two, undefined]);
  ready.update([two, three]);
  ready.release(two);
  expect([
    ready.count,
    ready.freeCapacity(paceOf),
    ready.take(paceOf),
    ready.take(paceOf),
    ready.take(paceOf),
  ]).toEqual([2, 2, two, three, undefined]);
});

test("an ejected one gets no batch, is tried when it has rested, and rests longer with every try that fails", () => {
  for (const pauseMs of [1000, 2000, 4000]) {
    expect(one.health.eject("it fails", performance.now())).toBe(pauseMs);
    expect([ready.freeCapacity(paceOf), ready.hasOther(two)]).toEqual([1, false]);
    vi.advanceTimersByTime(pauseMs - 1);
    expect(ready.takeEjected()).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect([ready.take(paceOf), ready.take(paceOf)]).toEqual([two, undefined]);
    ready.release(two);
    expect([ready.takeEjected(), ready.takeEjected()]).toEqual([one, undefined]);
    ready.release(one);
  }
  expect([...ready.ejected]).toEqual([["r1", "it fails"]]);
  expect([one.health.noteAnswer(), ready.ejected.size]).toEqual([true, 0]);
  expect(one.health.eject("it fails again", performance.now())).toBe(1000);
});

test("an ejected one is used all the same where no other is left", () => {
  one.health.eject("it fails", performance.now());
  ready.update([one]);
  expect([ready.freeCapacity(paceOf), ready.take(paceOf)]).toEqual([1, one]);
});

test("the fastest that is free is taken, the first of equals, and a slow one is a part of a free one", () => {
  ready.update([one, two, three]);
  const paces = new Map([
    [one, 4],
    [two, 1],
    [three, 1],
  ]);
  const pace = (of: Replica): number => paces.get(of) ?? 1;
  expect(ready.freeCapacity(pace)).toBe(2.25);
  expect([ready.take(pace), ready.freeCapacity(pace)]).toEqual([two, 1.25]);
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
