import { describe, expect, test } from "vitest";
import { optionsOf } from "./options.ts";

describe("the options of the bench", () => {
  test("quick means less of everything, and each can be said", () => {
    expect(optionsOf(["--quick"])).toMatchObject({
      connections: [1, 64],
      effort: { seconds: 0.5, repeats: 2 },
      parts: undefined,
    });
    expect(optionsOf(["--quick", "--seconds", "2", "--parts", "path,cache", "--soak", "10m"])).toMatchObject({
      effort: { seconds: 2 },
      parts: ["path", "cache"],
      soakSeconds: 600,
    });
  });

  test("other servers are given one by one", () => {
    const { peers } = optionsOf(["--peer", "a=http://127.0.0.1:1/", "--peer", "b=http://127.0.0.1:2/"]);
    expect(peers.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  test.each([["--seconds", "x"], ["--connections", "1,-2"], ["--soak", "ten"], ["--unknown"]])(
    "%s %s is refused",
    (...args) => {
      expect(() => optionsOf(args.filter((arg) => arg !== undefined))).toThrow(args[0] ?? "");
    },
  );
});
