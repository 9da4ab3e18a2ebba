import { describe, expect, test } from "vitest";
import {
  heartbeatFrames,
  predictFrames,
  readMessage,
} from "../../../../core/replicas/clipper-rpc/messages.ts";
import { long, word } from "../../../helpers/clipper-container.ts";

const EMPTY = Buffer.alloc(0);
const hex = (frames: readonly Uint8Array[]): readonly string[] =>
  frames.map((frame) => Buffer.from(frame).toString("hex"));

describe("what a container is told", () => {
  test("a heartbeat is answered with version 3, type 2, and whether metadata are wanted", () => {
    expect(hex(heartbeatFrames(false))).toEqual(["", "03000000", "02000000", "00000000"]);
    expect(hex(heartbeatFrames(true))).toEqual(["", "03000000", "02000000", "01000000"]);
  });

  test("a batch is its id, kind 0, the header's size, type, count and lengths, and the raw inputs", () => {
    const inputs = [new Uint8Array(new Float64Array([1.5]).buffer), new Uint8Array()];
    expect(hex(predictFrames({ messageId: 0x01020304, inputType: "doubles", inputs }))).toEqual([
      "",
      "03000000",
      "01000000",
      "04030201",
      "00000000",
      "2000000000000000",
      ["0300000000000000", "0200000000000000", "0800000000000000", "0000000000000000"].join(""),
      "000000000000f83f",
      "",
    ]);
  });

  test.each([
    ["bytes", "00"],
    ["integers", "01"],
    ["floats", "02"],
    ["doubles", "03"],
    ["strings", "04"],
  ] as const)("%s are type %s", (inputType, code) => {
    const header = predictFrames({ messageId: 1, inputType, inputs: [] })[6] as Uint8Array;
    expect(Buffer.from(header).toString("hex")).toBe(`${code}00000000000000${"00".repeat(8)}`);
  });
});

describe("what a container says", () => {
  test("a heartbeat", () => {
    expect(readMessage([EMPTY, word(2)])).toEqual({ kind: "heartbeat" });
  });

  test("its metadata, with the input type as decimal text and the RPC version last", () => {
    const frames = [EMPTY, word(0), Buffer.from("digits"), Buffer.from("1.2"), Buffer.from("4")];
    const metadata = { model: "digits", version: "1.2", inputType: "strings" };
    expect(readMessage([...frames, word(3)])).toEqual({ kind: "metadata", metadata, rpcVersion: 3 });
    expect(readMessage(frames)).toEqual({ kind: "metadata", metadata, rpcVersion: undefined });
    const unknown = [...frames.slice(0, 4), Buffer.from("9"), word(3)];
    expect(readMessage(unknown)).toMatchObject({ metadata: { inputType: undefined } });
  });

  test("outputs, any bytes, empty ones too", () => {
    const header = Buffer.concat([long(2), long(3), long(0)]);
    const outputs = [Buffer.from([0xe2, 0x82, 0xac]), EMPTY];
    expect(readMessage([EMPTY, word(1), word(7), long(24), header, ...outputs])).toEqual({
      kind: "response",
      messageId: 7,
      outputs,
    });
  });

  test.each([
    ["nothing", []],
    ["no type", [EMPTY]],
    ["a first part that is not empty", [Buffer.from("x"), word(2)]],
    ["a type of 3 bytes", [EMPTY, Buffer.alloc(3)]],
    ["type 9", [EMPTY, word(9)]],
    ["metadata without a version", [EMPTY, word(0), Buffer.from("digits")]],
    ["a response without an id", [EMPTY, word(1)]],
  ])("%s makes no sense", (_, frames) => {
    expect(readMessage(frames)).toMatchObject({ kind: "malformed" });
  });

  test.each([
    ["no header", [word(7)]],
    ["a header of another size", [word(7), long(8), Buffer.concat([long(1), long(0)]), EMPTY]],
    ["a header that is cut off", [word(7), long(8), long(1), EMPTY]],
    ["a header of no whole words", [word(7), long(9), Buffer.alloc(9)]],
    ["a count beyond its lengths", [word(7), long(16), Buffer.concat([long(2 ** 52), long(0)]), EMPTY]],
    ["fewer outputs than lengths", [word(7), long(16), Buffer.concat([long(1), long(0)])]],
    ["an output of another length", [word(7), long(16), Buffer.concat([long(1), long(2)]), Buffer.from("x")]],
  ])("a response with %s makes no sense, and still says which it is", (_, frames) => {
    expect(readMessage([EMPTY, word(1), ...frames])).toMatchObject({ kind: "malformed", messageId: 7 });
  });
});
