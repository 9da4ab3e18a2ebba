import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { checkDeployOptions } from "../../core/client/deploy-options.ts";
import { manifestSchema } from "../../core/deploy/bundle.ts";
import * as root from "../../deployers/index.ts";
import type { Deployer } from "../../deployers/index.ts";
import { INPUT_TYPE_NAMES } from "../../deployers/input-types.ts";
import { tempFolder } from "../helpers/temp.ts";

const readme = await readFile(new URL("../../deployers/README.md", import.meta.url), "utf8");
// The other blocks are run by test/e2e/package.test.ts.
const [, deployerCode = ""] = /^```ts\n(.*?)^```/ms.exec(readme) ?? [];

/** The page's deployer, imported from a file of the repository's tree, so that it finds windjammer by its name. */
async function pageDeployer(): Promise<Deployer<object>> {
  const folder = await tempFolder("wj-readme-");
  const path = join(folder, "table.ts");
  const entry = pathToFileURL(fileURLToPath(new URL("../../deployers/index.ts", import.meta.url))).href;
  const zod = import.meta.resolve("zod");
  await writeFile(
    path,
    deployerCode.replace('"windjammer"', JSON.stringify(entry)).replace('"zod"', JSON.stringify(zod)),
  );
  return ((await import(path)) as { readonly table: Deployer<object> }).table;
}

describe("the deployer on the page of deployers/README.md", () => {
  it("uses what windjammer exports, and nothing else of it", () => {
    const names = [...deployerCode.matchAll(/import \{([^}]*)\} from "windjammer"/g)].flatMap(
      ([, list = ""]) => list.split(",").map((name) => name.trim()),
    );
    expect(names.length).toBeGreaterThan(2);
    for (const name of names.filter((each) => !each.startsWith("type "))) expect(root).toHaveProperty(name);
    expect(deployerCode).not.toMatch(/from "(?:windjammer\/|\.)/);
  });

  it("makes a bundle that answers as the page says", async () => {
    const deployer = await pageDeployer();
    const folder = await tempFolder("wj-bundle-");
    const options = { name: "capitals", version: "1", table: { Italy: "Rome", France: "Paris" } };
    const { own } = checkDeployOptions(deployer, options);
    const messages: string[] = [];
    const manifest = await deployer.bundle(own, folder, (message) => messages.push(message));
    expect(manifestSchema.parse(manifest)).toEqual(manifest);
    expect(messages).toEqual(["wrote a table of 2 answers"]);
    const { predict } = await import(pathToFileURL(join(folder, "function.mjs")).href);
    expect(predict(["France", "Italy"])).toEqual(["Paris", "Rome"]);
    expect(() => predict(["Atlantis"])).toThrow("no answer to Atlantis");
  });

  it("refuses options as the page says", async () => {
    const deployer = await pageDeployer();
    const bad = { name: "capitals", version: "1", tables: {} };
    expect(() => checkDeployOptions(deployer, bad)).toThrow("did you mean 'table'?");
    await expect(deployer.bundle({ table: {} }, await tempFolder(), () => {})).rejects.toThrow(
      root.InvalidOptionsError,
    );
  });

  it("stands beside a table of all input types", () => {
    const cells = readme.match(/^\| `integers`.*?(?=\n\n)/ms)?.[0] ?? "";
    for (const name of INPUT_TYPE_NAMES) expect(cells).toContain(`\`${name}\``);
  });
});
