// A deployer in a package of its own, that finds windjammer as any package finds another.
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll } from "vitest";
import type { Deployer } from "../../deployers/index.ts";
import type { ServedCase } from "../conformance/deployer.ts";

const ROOT = join(import.meta.dirname, "../..");
export const PACKAGE: string = join(ROOT, "test/fixtures/windjammer-deployer-csv");

export interface CsvOptions {
  readonly file: string;
}

/** Installs the package beside windjammer in a project of its own, and imports it from there. */
export async function installCsv(): Promise<ServedCase<CsvOptions>> {
  const folder = await mkdtemp(join(tmpdir(), "wj-third-party-"));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  await cp(PACKAGE, folder, { recursive: true });
  await mkdir(join(folder, "node_modules"));
  for (const [name, target] of [
    ["windjammer", ROOT],
    ["zod", join(ROOT, "node_modules/zod")],
  ] as const)
    await symlink(target, join(folder, "node_modules", name), "dir");
  const { csv } = (await import(pathToFileURL(join(folder, "index.js")).href)) as {
    readonly csv: Deployer<CsvOptions>;
  };
  return csvCase(csv);
}

/** Labels by content; the rows are the same. */
const LABELS = { first: ["low", "high"], second: ["small", "large"] } as const;

function csvCase(deployer: Deployer<CsvOptions>): ServedCase<CsvOptions> {
  return {
    deployer,
    async write(folder, content) {
      await mkdir(folder, { recursive: true });
      const [low, high] = LABELS[content];
      await writeFile(join(folder, "points.csv"), `0,0,${low}\n10,10,${high}\n`);
      return { file: join(folder, "points.csv") };
    },
    inputs: [
      [1, 2],
      [9, 12],
      [4.5, 5],
    ],
    outputs: { first: ["low", "high", "low"], second: ["small", "large", "small"] },
    badInput: { input: ["one"], message: "input[0]" },
    failing: { input: [1, 2, 3], message: "expected 2 numbers, got 3" },
    wrongOptions: [
      { change: { file: "" }, message: "file" },
      { change: { fil: "x" }, message: "did you mean 'file'?" },
    ],
    missingFile: (folder) => ({ file: join(folder, "gone.csv") }),
  };
}
