// A container's whole session over ZeroMQ, frame by frame, as Clipper's rpc.py (RPC version 3) sends and gets it.
import { expect, onTestFinished, test } from "vitest";
import { Dealer } from "zeromq";
import { openClipper } from "../../../helpers/clipper-server.ts";

/** Frames written as hex, the first one empty. */
function frames(...hex: readonly string[]): Buffer[] {
  return ["", ...hex].map((text) => Buffer.from(text.replaceAll(" ", ""), "hex"));
}

test("a heartbeat, metadata, two batches, their answers and another heartbeat, to the byte", async () => {
  const lab = await openClipper();
  await lab.register("digits", "doubles");
  const socket = new Dealer({ linger: 0, receiveTimeout: 10_000 });
  onTestFinished(() => socket.close());
  socket.connect(lab.server.clipper?.rpcEndpoint ?? "");
  const next = async (): Promise<readonly Buffer[]> => socket.receive();

  await socket.send(frames("02000000"));
  expect(await next()).toEqual(frames("03000000", "02000000", "01000000"));
  // "digits", "1", input type "3", RPC version 3
  await socket.send(frames("00000000", "646967697473", "31", "33", "03000000"));
  await lab.untilContainers(1);

  const first = lab.query("/digits/predict", { input: [1.5, -2] });
  expect(await next()).toEqual(
    frames(
      "03000000",
      "01000000",
      "01000000",
      "00000000",
      "1800000000000000",
      "0300000000000000 0100000000000000 1000000000000000",
      "000000000000f83f 00000000000000c0",
    ),
  );
  // One output of three bytes: 1.0
  await socket.send(
    frames("01000000", "01000000", "1000000000000000", "0100000000000000 0300000000000000", "312e30"),
  );
  expect(await first).toBe('200 {"query_id":1,"output":1.0,"default":false}');

  await socket.send(frames("02000000"));
  expect(await next()).toEqual(frames("03000000", "02000000", "00000000"));

  const second = lab.query("/digits/predict", { input: [] });
  expect(await next()).toEqual(
    frames(
      "03000000",
      "01000000",
      "02000000",
      "00000000",
      "1800000000000000",
      "0300000000000000 0100000000000000 0000000000000000",
      "",
    ),
  );
  // "käse" is no JSON, and goes as a string.
  await socket.send(
    frames("01000000", "02000000", "1000000000000000", "0100000000000000 0500000000000000", "6bc3a47365"),
  );
  expect(await second).toBe('200 {"query_id":2,"output":"käse","default":false}');
});
