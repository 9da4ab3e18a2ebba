// A deployer that somebody else wrote: it passes the suite with what windjammer exports, and nothing else of it.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import * as root from "../../deployers/index.ts";
import { testDeployer } from "../conformance/deployer.ts";
import { installCsv, PACKAGE } from "../helpers/third-party.ts";

const installed = await installCsv();
testDeployer(installed);

it("imports windjammer by its name, and only what that exports", async () => {
  const source = await readFile(join(PACKAGE, "index.js"), "utf8");
  const imports = [...source.matchAll(/^import \{([^}]*)\} from "([^"]+)"/gm)].map(
    ([, names = "", from = ""]) => ({
      from,
      names: names.split(",").map((name) => name.trim()),
    }),
  );
  expect(imports.map(({ from }) => from).filter((from) => !from.startsWith("node:"))).toEqual([
    "windjammer",
    "zod",
  ]);
  for (const name of imports.find(({ from }) => from === "windjammer")?.names ?? [])
    expect(root).toHaveProperty(name);
});

it("says what is wrong with a file", async () => {
  const { deployer } = installed;
  const file = join(PACKAGE, "package.json");
  await expect(deployer.bundle({ file }, "/nonexistent", () => {})).rejects.toThrow(
    root.InvalidModelFileError,
  );
});
