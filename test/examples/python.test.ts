// The folders of examples/python: whole, parsed, exact, and told in a screen; test/e2e/frameworks.test.ts runs them.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { manifestSchema } from "../../core/deploy/bundle.ts";
import { parseRequirements, python } from "../../deployers/index.ts";
import { tempFolder } from "../helpers/temp.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/python/", import.meta.url));
const names = readdirSync(EXAMPLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const hasPython = spawnSync("python3", ["--version"]).status === 0;
const deployersPage = readFileSync(new URL("../../deployers/README.md", import.meta.url), "utf8");

it("there is one for each framework that Clipper deployed, and for a plain function", () => {
  const expected = ["function", "keras", "lightgbm", "mxnet", "pyspark", "pytorch", "scikit-learn"];
  expect(names.toSorted()).toEqual([...expected, "torchscript", "xgboost"]);
});

describe.each(names)("%s", (name) => {
  const folder = join(EXAMPLES, name);

  it("has a README of a screen, with the command that runs it and the files that there are", () => {
    const readme = readFileSync(join(folder, "README.md"), "utf8");
    expect(readme).toContain(`npm run example -- python/${name}\n`);
    expect(readme.split("\n").length).toBeLessThanOrEqual(40);
    const files = [...readme.matchAll(/^\| `([^`]+)` \|/gm)].map(([, file = ""]) => file);
    expect(files).toContain("predict.py");
    for (const file of files) expect(existsSync(join(folder, file)), file).toBe(true);
    expect(deployersPage).toContain(`examples/python/${name}`);
  });

  it.skipIf(!hasPython)("is Python that parses (skipped where there is no python3)", () => {
    const files = readdirSync(folder).filter((file) => file.endsWith(".py"));
    const code = "import ast, sys\nfor path in sys.argv[1:]: ast.parse(open(path).read(), path)";
    const { status, stderr } = spawnSync(
      "python3",
      ["-c", code, ...files.map((file) => join(folder, file))],
      {
        encoding: "utf8",
      },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("has requirements in exact versions only", () => {
    const path = join(folder, "requirements.txt");
    if (name === "function") expect(existsSync(path)).toBe(false);
    else {
      expect(parseRequirements(readFileSync(path, "utf8"))).toHaveProperty("requirements");
      for (const line of readFileSync(path, "utf8").trim().split("\n"))
        expect(line).toMatch(/^[\w.-]+==[\w.+]+$/);
    }
  });

  it("makes a bundle that can be served", async () => {
    const manifest = await python.bundle({ folder }, await tempFolder("wj-bundle-"), () => {});
    expect(manifestSchema.parse(manifest)).toEqual(manifest);
    expect(manifest.container).toEqual({ kind: "python" });
  });
});
