// What commands print: text for people, JSON for programs (--json); colour and progress on terminals only.
import { styleText, stripVTControlCharacters } from "node:util";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Colours text where `stream` is a terminal, as NO_COLOR and FORCE_COLOR say. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return styleText(style, text, { stream });
}

/** Numbers stand right in their column; undefined is a dash. */
export type Cell = string | number | undefined | { readonly text: string; readonly style: Style };

/** A table with its titles; the last column is not padded. */
export function table(titles: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => row.map(cellText));
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...texts.map((row) => row[at]?.length ?? 0)),
  );
  const isNumeric = titles.map((_, at) => rows.some((row) => typeof row[at] === "number"));
  const pad = (text: string, at: number): string => {
    const width = widths[at] ?? 0;
    if (isNumeric[at] === true) return text.padStart(width);
    return at === titles.length - 1 ? text : text.padEnd(width);
  };
  const lines = rows.map((row, line) =>
    row
      .map((cell, at) => {
        const padded = pad(texts[line]?.[at] ?? "", at);
        return typeof cell === "object" ? paint(cell.style, padded) : padded;
      })
      .join("  ")
      .trimEnd(),
  );
  return [paint("dim", titles.map(pad).join("  ").trimEnd()), ...lines].join("\n");
}

/** Names and what they are, one a line. */
export function fields(entries: readonly (readonly [name: string, value: string | undefined])[]): string {
  const shown = entries.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${paint("dim", name.padEnd(width))}  ${value}`).join("\n");
}

/** One line of text that cannot move the cursor, however it came about. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return stripVTControlCharacters(text).replaceAll(/[\u0000-\u001F\u007F-\u009F]+/g, " ");
}

function cellText(cell: Cell): string {
  if (cell === undefined) return "-";
  return oneLine(typeof cell === "object" ? cell.text : String(cell));
}

/** Where one command prints. Results go to standard output, everything else to standard error. */
export class Output {
  readonly isJson: boolean;
  #hasProgress = false;

  constructor({ json }: { readonly json?: boolean | undefined }) {
    this.isJson = json === true;
  }

  /** The one result of a command: with --json a document, else what `text` makes of it. */
  result(value: unknown, text: () => string): void {
    this.#clear();
    process.stdout.write(this.isJson ? `${JSON.stringify(value, undefined, 2)}\n` : withNewline(text()));
  }

  /** One of several results: with --json a line of JSON. */
  item(value: unknown, text: () => string): void {
    this.#clear();
    process.stdout.write(this.isJson ? `${JSON.stringify(value)}\n` : withNewline(text()));
  }

  /** For people only; nothing with --json. */
  note(text: string): void {
    if (this.isJson) return;
    this.#clear();
    process.stderr.write(withNewline(text));
  }

  /** A line that the next one replaces; only where people watch a terminal. */
  progress(text: string): void {
    if (this.isJson || !process.stderr.isTTY) return;
    this.#clear();
    const columns = process.stderr.columns || 80;
    process.stderr.write(paint("dim", oneLine(text).slice(0, columns - 1), process.stderr));
    this.#hasProgress = true;
  }

  /** Takes the line of progress away. */
  done(): void {
    this.#clear();
  }

  #clear(): void {
    if (!this.#hasProgress) return;
    process.stderr.write("\r\u001B[K");
    this.#hasProgress = false;
  }
}

function withNewline(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
