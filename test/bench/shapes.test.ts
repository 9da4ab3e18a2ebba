import { describe, expect, test } from "vitest";
import { CLIPPER, oipBinary, oipJson, templated } from "./shapes.ts";

const URL = "http://127.0.0.1:1/predict";

function bodyOf(request: Buffer): Buffer {
  return request.subarray(request.indexOf("\r\n\r\n") + 4);
}

describe("the shapes of requests and replies", () => {
  test("a prediction is cut out of what differs from reply to reply", () => {
    const reply = '{"query_id":7,"output":{"scores":[0.5,2]},"default":false}';
    expect(CLIPPER.answer(reply)).toBe('"output":{"scores":[0.5,2]}');
  });

  test("an image goes row by row, flat, as the protocol's tensor", () => {
    const { request } = oipJson({ name: "image", datatype: "FP32", shape: [2, 2] });
    const rows = [
      [1, 2],
      [3, 4],
    ];
    expect(JSON.parse(bodyOf(request(URL, rows)).toString())).toEqual({
      inputs: [{ name: "image", datatype: "FP32", shape: [1, 2, 2], data: [1, 2, 3, 4] }],
    });
  });

  test("binary numbers stand behind a header whose length is said", () => {
    const bytes = oipBinary({ name: "x", datatype: "FP64", shape: [2] }).request(URL, [1.5, -2]);
    const length = Number(/Inference-Header-Content-Length: (\d+)/.exec(bytes.toString("latin1"))?.[1]);
    const body = bodyOf(bytes);
    expect(JSON.parse(body.toString("utf8", 0, length))).toMatchObject({
      inputs: [{ shape: [1, 2], parameters: { binary_data_size: 16 } }],
    });
    expect([body.readDoubleLE(length), body.readDoubleLE(length + 8)]).toEqual([1.5, -2]);
  });

  test("a template takes the row, and its path finds the prediction", () => {
    const { request, answer } = templated('{"instances":[$row]}', "predictions.0");
    expect(bodyOf(request(URL, [1, 2])).toString()).toBe('{"instances":[[1,2]]}');
    expect(answer('{"id":"a","predictions":[[0.25,4]]}')).toBe("[0.25,4]");
  });

  test("without a path the whole reply is the prediction; with a wrong one nothing is", () => {
    expect(templated("$row", "").answer("[1, 2]")).toBe("[1,2]");
    expect(templated("$row", "a.b").answer('{"a":1}')).toBe("null");
  });

  test("a template without a place for the row is refused", () => {
    expect(() => templated('{"instances":[]}', "")).toThrow("$row");
  });
});
