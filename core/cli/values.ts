// Values of options and arguments, from their text; a wrong one is wrong usage.
import { InvalidArgumentError } from "commander";
import { InvalidOptionsError } from "../errors.ts";

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535)
    throw new InvalidArgumentError("expected a port, 0 to 65535.");
  return port;
}

export function parseWhole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("expected a whole number.");
  return Number(text);
}

export function parsePositive(text: string): number {
  const value = parseWhole(text);
  if (value === 0) throw new InvalidArgumentError("expected a whole number over 0.");
  return value;
}

const QUOTED = /"[^"]*"|'[^']*'/g;

/** A command line as its words; quotes keep spaces. No shell sees it. @throws InvalidOptionsError for none, or a quote too few */
export function parseWords(line: string): readonly string[] {
  if (/["']/.test(line.replaceAll(QUOTED, "")))
    throw new InvalidOptionsError(`a quote is not closed in the command: ${line}`);
  const words = line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  const found = words.map((word) => word.replaceAll(QUOTED, (quoted) => quoted.slice(1, -1)));
  if (found.length === 0)
    throw new InvalidOptionsError('the command is empty; give one such as "python3 server.py"');
  return found;
}
