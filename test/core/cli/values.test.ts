// Values of options that are more than a text.
import { expect, test } from "vitest";
import { parseWords } from "../../../core/cli/values.ts";

test.each([
  ["python3 server.py", ["python3", "server.py"]],
  ['./x --name="a b"', ["./x", "--name=a b"]],
  [`sh -c 'a "b" c'`, ["sh", "-c", 'a "b" c']],
  ['"" x', ["", "x"]],
  ['a"b c"d', ["ab cd"]],
])("%s is the words that a shell makes of it", (line, words) => {
  expect(parseWords(line)).toEqual(words);
});

test.each([
  ['"python3 server.py', "a quote is not closed"],
  ["  ", "the command is empty"],
])("%s is refused", (line, why) => {
  expect(() => parseWords(line)).toThrow(why);
});
