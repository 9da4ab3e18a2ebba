// The AbortSignal of a call: made late, aborted by deadline or cancel, without a timer that stays.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CallSignal } from "../../containers/call-signal.ts";

describe("CallSignal", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("needs no timer until somebody asks for the signal", () => {
    const call = new CallSignal(100);
    expect(vi.getTimerCount()).toBe(0);
    expect(call.signal.aborted).toBe(false);
    expect(vi.getTimerCount()).toBe(1);
    call.end();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("aborts when the deadline passes, counted from the start of the call", () => {
    const call = new CallSignal(100);
    vi.advanceTimersByTime(60);
    const { signal } = call;
    vi.advanceTimersByTime(39);
    expect(signal.aborted).toBe(false);
    vi.advanceTimersByTime(2);
    expect(signal.reason).toMatchObject({ name: "TimeoutError" });
  });

  test("is aborted from the first when the deadline has passed or the caller has gone", () => {
    const late = new CallSignal(10);
    vi.advanceTimersByTime(11);
    expect(late.signal.reason).toMatchObject({ name: "TimeoutError" });
    const cancelled = new CallSignal(undefined);
    cancelled.cancel();
    expect(cancelled.signal.reason).toMatchObject({ name: "AbortError" });
  });

  test("is aborted after the deadline even where timers could not run", () => {
    const call = new CallSignal(100);
    expect(call.signal.aborted).toBe(false);
    vi.spyOn(performance, "now").mockReturnValue(performance.now() + 101);
    expect(call.signal.reason).toMatchObject({ name: "TimeoutError" });
    vi.restoreAllMocks();
  });

  test("aborts when the caller goes", () => {
    const call = new CallSignal(undefined);
    const { signal } = call;
    expect(vi.getTimerCount()).toBe(0);
    call.cancel();
    expect(signal.aborted).toBe(true);
    expect(call.signal).toBe(signal);
  });
});
