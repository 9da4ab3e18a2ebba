import { describe, expect, test } from "vitest";
import { RpcContainer } from "../../../../core/replicas/clipper-rpc/container.ts";
import type { ContainerMessage } from "../../../../core/replicas/clipper-rpc/messages.ts";

interface Call {
  readonly error: Error | undefined;
  readonly outputs: readonly Uint8Array[] | undefined;
}

function connect(send: () => Promise<void> = async () => undefined): {
  readonly container: RpcContainer;
  readonly clock: { now: number };
  readonly sent: (readonly Uint8Array[])[];
} {
  const clock = { now: 0 };
  const sent: (readonly Uint8Array[])[] = [];
  const container = new RpcContainer({
    metadata: { model: "m", version: "1", inputType: "strings" },
    connection: "00ab",
    address: { host: "127.0.0.1", port: 7000 },
    send: (frames) => {
      sent.push(frames);
      return send();
    },
    now: () => clock.now,
  });
  return { container, clock, sent };
}

function predict(container: RpcContainer): Call[] {
  const calls: Call[] = [];
  container.predict([Buffer.from("x")], (error, outputs) => calls.push({ error, outputs }));
  return calls;
}

const answer = (messageId: number): ContainerMessage => ({
  kind: "response",
  messageId,
  outputs: [Buffer.from("1")],
});

describe("a container that is connected", () => {
  test("is silent from its last message on, but not while a batch is with it", () => {
    const { container, clock } = connect();
    clock.now = 29_000;
    expect(container.silentMs).toBe(29_000);
    container.heard({ kind: "heartbeat" });
    expect(container.silentMs).toBe(0);
    predict(container);
    clock.now = 600_000;
    expect(container.silentMs).toBe(0);
    container.heard(answer(1));
    clock.now = 601_000;
    expect(container.silentMs).toBe(1000);
  });

  test("gives each batch a new id, and drops answers to others", () => {
    const { container } = connect();
    const first = predict(container);
    container.heard(answer(9));
    expect(first).toEqual([]);
    container.heard(answer(1));
    container.heard(answer(1));
    expect(first).toHaveLength(1);
    const second = predict(container);
    container.heard(answer(1));
    expect(second).toEqual([]);
    container.heard(answer(2));
    expect(second).toMatchObject([{ error: undefined }]);
  });

  test("fails its batch and ends once when it cannot be reached", async () => {
    const { container } = connect(async () => {
      throw new Error("Host unreachable");
    });
    const calls = predict(container);
    const exit = await container.gone;
    expect(exit).toEqual({ reason: "exited", message: "cannot be reached (Host unreachable)" });
    expect(calls.map(({ error }) => error?.message)).toEqual(["cannot be reached (Host unreachable)"]);
    expect(container.isConnected).toBe(false);
    expect(predict(container)[0]?.error?.message).toBe("it has gone");
  });

  test("fails its batch when it answers with something that is no response", () => {
    const { container } = connect();
    const calls = predict(container);
    container.heard({ kind: "malformed", why: "its header is odd", messageId: 1 });
    expect(calls[0]?.error?.message).toBe(
      "it answered with something that is no response: its header is odd",
    );
    expect(container.isConnected).toBe(true);
  });

  test("shortens names from outside in what is logged of it", () => {
    const long = new RpcContainer({
      metadata: { model: "m".repeat(1e5), version: '1"\n', inputType: undefined },
      connection: "00",
      address: { host: "127.0.0.1", port: 7000 },
      send: async () => undefined,
      now: () => 0,
    });
    expect(long.label.length).toBeLessThan(200);
    expect(long.label).not.toContain("\n");
  });
});
