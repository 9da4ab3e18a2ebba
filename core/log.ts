// The structured log of core: pino, JSON lines to stderr or a readable form, silent by default when embedded.
import { writeSync } from "node:fs";
import { styleText } from "node:util";
import { pino, type Logger } from "pino";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error">;

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** text: a line for people, json: one for programs. */
export type LogFormat = "text" | "json";

const STANDARD_ERROR = 2;

export function createLog(level: LogLevel, format: LogFormat = "json"): Log {
  const options = { name: "windjammer", level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  const lines =
    format === "json" ? pino.destination({ dest: STANDARD_ERROR, sync: true }) : { write: writeText };
  return pino(options, lines);
}

type Style = "dim" | "green" | "yellow" | "red";

const LEVELS: ReadonlyMap<number, readonly [text: string, style: Style]> = new Map([
  [20, ["debug", "dim"]],
  [30, ["info ", "green"]],
  [40, ["warn ", "yellow"]],
  [50, ["error", "red"]],
]);

/** A line for people: time, level, message, and the rest as name=value; an error's stack below it. */
function writeText(line: string): void {
  const {
    level,
    time,
    name: _,
    msg = "",
    err,
    ...rest
  } = JSON.parse(line) as {
    readonly level: number;
    readonly time: string;
    readonly name?: string;
    readonly msg?: string;
    readonly err?: { readonly stack?: string };
  };
  const [shown, style] = LEVELS.get(level) ?? [String(level), "dim"];
  const fields = Object.entries(rest).map(([field, value]) => {
    const text = typeof value === "string" && /^[\x21-\x7e]+$/.test(value) ? value : JSON.stringify(value);
    return paint("dim", ` ${field}=${text}`);
  });
  const stack = err?.stack === undefined ? "" : `\n${err.stack}`;
  const text = `${paint("dim", time.slice(11, 23))} ${paint(style, shown)} ${msg}${fields.join("")}${stack}\n`;
  try {
    writeSync(STANDARD_ERROR, text);
  } catch {
    // Nobody reads it any more, and a server goes on.
  }
}

function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stderr });
}
