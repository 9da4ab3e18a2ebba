import { expect, test } from "vitest";
import { parseProblem } from "../../../../core/frontend/clipper/parse-problem.ts";

// Taken down from RapidJSON itself, whose answers to 40,000 damaged texts were compared with ours.
test.each([
  ["", "The document is empty.", 0],
  [" ", "The document is empty.", 1],
  ["{", "Missing a name for object member.", 1],
  ["{,}", "Missing a name for object member.", 1],
  ['{"a":1,}', "Missing a name for object member.", 7],
  ['{"a"', "Missing a colon after a name of object member.", 4],
  ['{"a" 1}', "Missing a colon after a name of object member.", 5],
  ['{"a":', "Invalid value.", 5],
  ['{"a":1 "b"}', "Missing a comma or } after an object member.", 7],
  ["[1", "Missing a comma or ] after an array element.", 2],
  ["[1 2]", "Missing a comma or ] after an array element.", 3],
  ["[1,]", "Invalid value.", 3],
  ["tru", "Invalid value.", 3],
  ["[NaN]", "Invalid value.", 1],
  ["'a'", "Invalid value.", 0],
  ["-", "Invalid value.", 1],
  ["01", "The document root must not be followed by other values.", 1],
  ["true false", "The document root must not be followed by other values.", 5],
  ["1.", "Miss fraction part in number.", 2],
  ["1e", "Miss exponent in number.", 2],
  ['"abc', "Missing a closing quotation mark in string.", 4],
  ['"\\x"', "Invalid escape character in string.", 1],
  ['"a\n"', "Invalid escape character in string.", 2],
  ['"\\u12"', "Incorrect hex digit after \\u escape in string.", 1],
  ['"\\ud800"', "The surrogate pair in string is invalid.", 1],
  ['{"käse": x}', "Invalid value.", 10],
  ['{"a":1}\0x', undefined, 0],
])("%j: %s (offset %i)", (text, message, offset) => {
  const expected = message === undefined ? undefined : { text: message, offset };
  expect(parseProblem(Buffer.from(text))).toEqual(expected);
});

test("finds nothing in what is right", () => {
  for (const text of ["0", "-1.5E+10", '"\\ud83d\\ude00\\/"', ' [true, null, {"a": {}}, []] '])
    expect(parseProblem(Buffer.from(text))).toBeUndefined();
});
