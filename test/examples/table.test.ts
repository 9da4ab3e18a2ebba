// The README's table "what you have → what you call": each row's example is there, makes that call, and is run by a test.
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import * as windjammer from "../../deployers/index.ts";

const MODULE = "examples/functions/sum.ts";
const root = new URL("../..", import.meta.url).pathname;
const readme = readFileSync(join(root, "README.md"), "utf8");
const [, section = ""] = readme.split("\n## What you have → what you call\n");
const [table = ""] = section.split("\n## ");
const rows = [...table.matchAll(/^\| (.*) \| `(.*?)`.* \| (.*) \| \[.*\]\((.*)\) \|$/gm)].map(
  ([, have = "", call = "", runs = "", example = ""]) => ({ have, call, runs, example }),
);

/** What runs an example, by where it lies. */
function testOf(example: string): string {
  // A module, which a code block of the README deploys.
  if (example === MODULE) return "test/e2e/readme.test.ts";
  if (example === "deployers/README.md") return "test/e2e/package.test.ts";
  if (example === "containers/README.md") return "test/e2e/containers.test.ts";
  return example === "examples/python/run.ts" ? "test/e2e/frameworks.test.ts" : "test/e2e/examples.test.ts";
}

it("has a row for every deployer, and one for those that somebody else writes", () => {
  const names = Object.keys(windjammer).filter((name) => /^deploy[A-Z]/.test(name));
  const called = new Set(rows.map(({ call }) => call.split("(")[0] ?? ""));
  expect([...called].toSorted()).toEqual([...names, "wj.deploy"].toSorted());
  expect(rows.length).toBeGreaterThanOrEqual(9);
});

describe.each(rows)("$have", ({ call, runs, example }) => {
  it(`has an example that calls it: ${example}`, () => {
    const [name = "", options = ""] = call.split("(");
    const source = example === MODULE ? readme : readFileSync(join(root, example), "utf8");
    expect(source).toContain(name);
    // The first option says what kind of model it is.
    const [first = ""] = [...options.matchAll(/\{ (\w+)/g)].map(([, option = ""]) => option);
    if (first !== "") expect(source).toMatch(new RegExp(`\\b${first}\\b`));
    expect(runs).not.toBe("");
  });

  it("has a test that runs the example", () => {
    const test = testOf(example);
    expect(existsSync(join(root, test))).toBe(true);
    // That one runs every folder with a main.ts.
    if (test.endsWith("examples.test.ts")) expect(basename(example)).toBe("main.ts");
    else if (example === MODULE) expect(readme).toContain(`module: "${MODULE}"`);
    else {
      const named = example.endsWith("run.ts") ? basename(example) : example;
      expect(readFileSync(join(root, test), "utf8")).toContain(named);
    }
  });
});
