// `npm run bench`: every part in turn, one table each, figures as ratios to a yardstick of the same run.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLab } from "./lab.ts";
import { type OnnxModels, writeOnnxModels } from "./onnx-models.ts";
import { type BenchOptions, OPTIONS_HELP, optionsOf } from "./options.ts";
import { PARTS } from "./parts.ts";
import { Report } from "./report.ts";
import { soak } from "./soak.ts";
import { TARGET_PARTS } from "./targets.ts";

const PARTS_HELP: string = Object.entries(PARTS)
  .map(
    ([name, { shows, needs }]) => `    ${name.padEnd(14)}${shows}${needs === undefined ? "" : ` (${needs})`}`,
  )
  .join("\n");

const HELP = `npm run bench -- [options]
${OPTIONS_HELP}
  --parts a,b          some of those below; default: all that need nothing else, with --quick path and goodput, with --readme
                       those that its table has lines of
${PARTS_HELP}`;

function namesOf({ parts, isQuick, isForReadme }: BenchOptions): readonly string[] {
  if (parts !== undefined) return parts;
  if (isForReadme) return TARGET_PARTS;
  if (isQuick) return ["path", "goodput"];
  return Object.entries(PARTS).flatMap(([name, { needs }]) => (needs === undefined ? [name] : []));
}

/** A part that fails is told, and costs the others nothing. */
async function measureParts(options: BenchOptions, models: OnnxModels, report: Report): Promise<void> {
  const names = namesOf(options);
  const unknown = names.find((name) => PARTS[name] === undefined);
  if (unknown !== undefined) throw new Error(`no part ${unknown}; they are ${Object.keys(PARTS).join(", ")}`);
  for (const name of names) {
    try {
      const table = await PARTS[name]?.measure(options, models);
      if (table !== undefined) report.add(table);
    } catch (error) {
      console.error(`\nthe part ${name} could not be measured:`, error);
      process.exitCode = 1;
    }
  }
}

async function main(options: BenchOptions): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "windjammer-bench-models-"));
  try {
    const models = await writeOnnxModels(folder);
    const report = new Report();
    if (options.soakSeconds === undefined) {
      await measureParts(options, models, report);
    } else {
      await using lab = await startLab();
      report.add(await soak(lab, options.soakSeconds));
    }
    if (options.isForReadme) report.printTargets();
    if (options.jsonFile !== undefined) await report.write(options.jsonFile);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const options = optionsOf(process.argv.slice(2));
if (options.isHelp) console.log(HELP);
else await main(options);
