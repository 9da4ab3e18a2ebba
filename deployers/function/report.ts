// What a live function takes along, for people: captured names with their sizes, packages, files.
import { inspect as utilInspect } from "node:util";
import type { CapturedItem } from "./closure/items.ts";
import { capture } from "./closure/serialize.ts";

/** What `inspect` found. Printed by `console.log` as a table. */
export interface FunctionReport {
  /** Bytes of the bundle, without its packages. */
  readonly bytes: number;
  /** What was captured under which name, largest first; sizes are estimates, but for binary data. */
  readonly captured: readonly CapturedItem[];
  /** Packages by exact version. */
  readonly packages: Readonly<Record<string, string>>;
  /** Bytes of each file, by name. */
  readonly files: Readonly<Record<string, number>>;
  /** What looks like a secret, by its path. */
  readonly warnings: readonly string[];
  /** What goes along beside: how packages are set up. */
  readonly notes: readonly string[];
  toString(): string;
}

/** What `inspect` takes beside the function, as in `deployFunction`. */
export interface InspectOptions {
  readonly setup?: object | undefined;
  readonly packages?: Readonly<Record<string, string>> | undefined;
}

/**
 * Says what `deployFunction` would take along with a function: why its bundle has 50 MB. Deploys and writes nothing.
 *
 * @example
 * console.log(inspect(score)); // fn takes 8.1 kB … fn → weights  Float64Array  8.0 kB
 *
 * @throws InvalidOptionsError with every path that cannot be captured and why
 */
export function inspect(fn: object, { setup, packages }: InspectOptions = {}): FunctionReport {
  const captured = capture({ fn, setup, packages });
  const { files, warnings, notes } = captured;
  const report = {
    bytes: Object.values(files).reduce((total, size) => total + size, 0),
    captured: captured.items(),
    packages: { ...captured.packages, ...packages },
    files,
    warnings,
    notes,
  };
  const toString = (): string => reportText(report);
  return Object.defineProperties(report, {
    toString: { value: toString },
    [utilInspect.custom]: { value: toString },
  });
}

const MAX_ROWS = 20;

function reportText({
  bytes,
  captured,
  packages,
  warnings,
  notes,
}: Omit<FunctionReport, "toString">): string {
  const names = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  const rows = captured.slice(0, MAX_ROWS).map(({ path, kind, bytes: size }) => [path, kind, sizeText(size)]);
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const lines = rows.map(
    ([path = "", kind = "", size = ""]) =>
      `  ${path.padEnd(widths[0] ?? 0)}  ${kind.padEnd(widths[1] ?? 0)}  ${size}`,
  );
  const more = captured.length > MAX_ROWS ? [`  and ${captured.length - MAX_ROWS} smaller ones`] : [];
  const head = `fn takes ${sizeText(bytes)}, ${names.length === 0 ? "no packages" : `packages: ${names.join(", ")}`}`;
  const said = [...notes.map((note) => `  ${note}`), ...warnings.map((warning) => `  warning: ${warning}`)];
  return [head, ...lines, ...more, ...said].join("\n");
}

function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
