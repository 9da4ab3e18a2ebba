import { expect, test, vi } from "vitest";
import { SpareMemory } from "../../../core/query/spare-memory.ts";

test("memory that was given back serves again, for what fits into it", () => {
  const memory = new SpareMemory();
  const first = memory.take(1000);
  expect(first.byteLength).toBe(1000);
  expect(memory.take(1000).buffer).not.toBe(first.buffer);
  memory.give(first);
  const second = memory.take(700);
  expect([second.buffer, second.byteOffset, second.byteLength]).toEqual([first.buffer, 0, 700]);
  memory.give(second);
  const larger = memory.take(5000);
  expect(larger.byteLength).toBe(5000);
  expect(larger.buffer).not.toBe(first.buffer);
});

test("no more than a few pieces are kept, and none that is very large", () => {
  const memory = new SpareMemory();
  const taken = Array.from({ length: 10 }, () => memory.take(100));
  for (const one of taken) memory.give(one);
  const again = new Set(Array.from({ length: 10 }, () => memory.take(100).buffer));
  expect(taken.filter((one) => again.has(one.buffer))).toHaveLength(4);
  const large = memory.take(2 ** 24 + 1);
  memory.give(large);
  expect(memory.take(10).buffer).not.toBe(large.buffer);
});

test("memory that nothing takes for a while is let go", () => {
  vi.useFakeTimers();
  try {
    const memory = new SpareMemory();
    const first = memory.take(1000);
    memory.give(first);
    vi.advanceTimersByTime(9_000);
    const second = memory.take(1000);
    expect(second.buffer).toBe(first.buffer);
    memory.give(second);
    vi.advanceTimersByTime(9_000);
    const third = memory.take(1000);
    expect(third.buffer).toBe(first.buffer);
    memory.give(third);
    vi.advanceTimersByTime(10_000);
    expect(memory.take(1000).buffer).not.toBe(first.buffer);
  } finally {
    vi.useRealTimers();
  }
});
