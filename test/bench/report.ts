// What the benchmark prints: one table a part, as markdown and as JSON, with what was held against a target.
import { writeFile } from "node:fs/promises";
import { cpus, loadavg, totalmem } from "node:os";
import type { Figure } from "./statistics.ts";
import { targetLines } from "./targets.ts";

type Cell = string | number | Figure;

export interface Table {
  /** "whole path"; also the key in the JSON. */
  readonly part: string;
  /** What the figures are held against. */
  readonly yardstick: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export class Report {
  readonly #tables: Table[] = [];
  readonly #startedAt = new Date();
  readonly #startLoad = loadavg()[0] ?? 0;

  constructor() {
    const [cpu] = cpus();
    console.log(`# Windjammer bench, ${this.#startedAt.toISOString()}`);
    console.log(
      `${cpus().length} × ${cpu?.model.trim() ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, load average ${this.#startLoad.toFixed(1)}`,
    );
  }

  add(table: Table): void {
    this.#tables.push(table);
    console.log(`\n## ${table.part}\n${table.yardstick}\n`);
    console.log(`| ${table.columns.join(" | ")} |\n|${"---|".repeat(table.columns.length)}`);
    for (const row of table.rows) console.log(`| ${row.map(text).join(" | ")} |`);
  }

  /** The lines of the README's table of speed that these parts give. */
  printTargets(): void {
    console.log(`\n${targetLines(this.#tables).join("\n")}`);
  }

  async write(path: string): Promise<void> {
    const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version };
    const load = { before: this.#startLoad, after: loadavg()[0] };
    const report = { startedAt: this.#startedAt, machine, load, tables: this.#tables };
    await writeFile(path, `${JSON.stringify(report, undefined, 2)}\n`);
  }
}

function text(cell: Cell): string {
  if (typeof cell === "string") return cell;
  if (typeof cell === "number") return number(cell);
  return `${number(cell.median)} ±${Math.round(cell.spread * 100)}%`;
}

function number(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) || Math.abs(value) >= 100) return String(Math.round(value));
  return value.toFixed(2);
}
