import { expect, test } from "vitest";
import { keptDefaultText } from "../../../core/query/default-output.ts";

const application = { name: "app", inputType: "doubles" } as const;

test("the text of a default output counts as long as it says the value", () => {
  expect(keptDefaultText({ ...application, defaultOutput: -1, defaultOutputText: "-1.0" })).toBe("-1.0");
  const object = {
    ...application,
    defaultOutput: { b: [1], a: null },
    defaultOutputText: '{"a":null, "b":[1.0]}',
  };
  expect(keptDefaultText(object)).toBe('{"a":null, "b":[1.0]}');
  expect(keptDefaultText({ ...application, defaultOutput: 2, defaultOutputText: "-1.0" })).toBeUndefined();
  expect(keptDefaultText({ ...application, defaultOutput: 2 })).toBeUndefined();
});
