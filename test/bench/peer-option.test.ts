import { describe, expect, test } from "vitest";
import { peerOf } from "./peer-option.ts";

describe("--peer", () => {
  test("a name and a URL mean a server that takes what we take", () => {
    const { name, url, form } = peerOf("other one=http://127.0.0.1:9/predict?model=a=b");
    expect([name, url]).toEqual(["other one", "http://127.0.0.1:9/predict?model=a=b"]);
    expect(form.request(url, [1]).toString()).toMatch(/\{"input":\[1\]\}$/);
  });

  test("a body and a path say how else it is asked, and where it answers", () => {
    const { url, form } = peerOf(
      'kserve=http://127.0.0.1:9/v1/models/m:predict|{"instances":[$row]}|predictions.0',
    );
    expect(form.request(url, [1, 2]).toString()).toMatch(/\{"instances":\[\[1,2\]\]\}$/);
    expect(form.answer('{"predictions":[[3]]}')).toBe("[3]");
  });

  test.each(["http://127.0.0.1:9/", "x=not a url", "x=ftp://127.0.0.1/", "=http://127.0.0.1:9/"])(
    "%s is refused with what was expected",
    (text) => {
      expect(() => peerOf(text)).toThrow("--peer takes name=");
    },
  );
});
