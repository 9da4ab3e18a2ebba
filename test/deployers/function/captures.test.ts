import { fileURLToPath } from "node:url";
import { InferenceSession } from "onnxruntime-node";
import { afterEach, describe, expect, it } from "vitest";
import { inspect } from "../../../deployers/index.ts";

describe("what holds on to this process", () => {
  it("is refused with its path and the way out: a session of a native add-on", async () => {
    const file = fileURLToPath(new URL("../../../examples/digits/digits.onnx", import.meta.url));
    const model = { session: await InferenceSession.create(file) };
    const fn = async (): Promise<unknown> => [model.session];
    expect(() => inspect(fn)).toThrow(/fn → model\.session.* native .*option setup/);
    await model.session.release();
  });

  it("is refused with all its problems at once", () => {
    const [one, two] = [new WeakRef({}), new AbortController()];
    const problem = ((): unknown => {
      try {
        return inspect(() => [one, two]);
      } catch (error) {
        return error;
      }
    })();
    expect(problem).toMatchObject({
      code: "INVALID_OPTIONS",
      details: {
        problems: [
          { path: expect.stringMatching(/two$|one$/) as string },
          { hint: expect.any(String) as string },
        ],
      },
    });
  });
});

describe("a captured secret", () => {
  afterEach(() => {
    delete process.env["WINDJAMMER_TEST_KEY"];
  });

  it("gives a warning with its path, and the variable it came from, but not its value", () => {
    process.env["WINDJAMMER_TEST_KEY"] = "kept between us two";
    const settings = { header: process.env["WINDJAMMER_TEST_KEY"] };
    const text = inspect(() => settings.header).warnings.join("\n");
    expect(text).toMatch(
      /^fn → settings\.header holds the value of the environment variable WINDJAMMER_TEST_KEY;/,
    );
    expect(text).not.toContain("between us");
  });

  it("is known by a token's form, too", () => {
    const value = `ghp_${"a1".repeat(18)}`;
    const text = inspect(() => value).warnings.join("\n");
    expect(text).toContain("fn → value looks like an access token");
    expect(text).not.toContain("a1a1");
  });
});
