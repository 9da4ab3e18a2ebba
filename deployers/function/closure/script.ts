// One loaded script: its text as V8 compiled it, its functions, and the way back to the file it was made from.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";
import { analyse } from "./scope.ts";
import type { FunctionNode, ScriptScopes } from "./scope-types.ts";
import { parseScript } from "./syntax.ts";
import { viteSourceMap } from "./vite.ts";

export interface OriginalPlace {
  readonly source: string;
  readonly line: number;
  readonly column: number;
}

/** Characters of text whose analyses are kept. */
const MAX_KEPT = 4_000_000;
/** What the texts of scripts were found to hold, by V8's id, which stands for one text as long as the process lives. */
const analysed = new Map<string, { readonly scopes: ScriptScopes | SyntaxError; readonly length: number }>();
let keptLength = 0;

/** Keeps an analysis for the next function, and lets the oldest go when the texts are long. */
function keep(id: string, scopes: ScriptScopes | SyntaxError, length: number): void {
  analysed.set(id, { scopes, length });
  keptLength += length;
  for (const [oldest, each] of analysed) {
    if (keptLength <= MAX_KEPT) break;
    analysed.delete(oldest);
    keptLength -= each.length;
  }
}

export interface ScriptFacts {
  readonly id: string;
  readonly isModule: boolean;
  readonly sourceMapUrl: string;
  /** Where V8 counts the text from, which loaders shift by what they put before it. */
  readonly start: { readonly line: number; readonly column: number };
}

export class Script {
  readonly url: string;
  /** Absolute path of the file; undefined for what is not one. */
  readonly path: string | undefined;
  readonly isModule: boolean;
  readonly #read: () => string;
  readonly #id: string;
  readonly #sourceMapUrl: string;
  readonly #start: ScriptFacts["start"];
  #source: string | undefined;
  #scopes: ScriptScopes | SyntaxError | undefined;
  #lines: readonly number[] | undefined;
  #map: TraceMap | null | undefined;

  constructor(url: string, read: () => string, facts: ScriptFacts) {
    this.url = url;
    this.path = pathOf(url);
    this.isModule = facts.isModule;
    this.#id = facts.id;
    this.#sourceMapUrl = facts.sourceMapUrl;
    this.#start = facts.start;
    this.#read = read;
  }

  /** Name of the package under node_modules that it belongs to; undefined: the user's own. */
  get packageName(): string | undefined {
    const inside = this.path?.split("/node_modules/").at(-1);
    if (inside === undefined || inside === this.path) return undefined;
    return inside
      .split("/")
      .slice(0, inside.startsWith("@") ? 2 : 1)
      .join("/");
  }

  get isInternal(): boolean {
    return this.url.startsWith("node:");
  }

  get source(): string {
    return (this.#source ??= this.#read());
  }

  /** @throws SyntaxError for syntax that is not known */
  get scopes(): ScriptScopes {
    const known = this.#scopes ?? analysed.get(this.#id)?.scopes ?? this.#analyse();
    this.#scopes = known;
    if (known instanceof SyntaxError) throw known;
    return known;
  }

  #analyse(): ScriptScopes | SyntaxError {
    const { source, isModule } = this;
    let scopes: ScriptScopes | SyntaxError;
    try {
      scopes = analyse(parseScript(source, isModule), isModule);
    } catch (error) {
      scopes = error as SyntaxError;
    }
    keep(this.#id, scopes, source.length);
    return scopes;
  }

  /** Offset of a line and column of V8's, both from 0. */
  offsetOf(line: number, column: number): number {
    const { line: first, column: shift } = this.#start;
    return (this.#lineStarts()[line - first] ?? 0) + (line === first ? column - shift : column);
  }

  /** Line and column of an offset, both from 0. */
  placeOf(offset: number): { readonly line: number; readonly column: number } {
    const starts = this.#lineStarts();
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low, column: offset - (starts[low] ?? 0) };
  }

  #lineStarts(): readonly number[] {
    if (this.#lines !== undefined) return this.#lines;
    const starts = [0];
    for (const match of this.source.matchAll(/\r\n|[\n\r\u2028\u2029]/g))
      starts.push(match.index + match[0].length);
    return (this.#lines = starts);
  }

  /** The function of this text around an offset; undefined: none, or more than one. */
  functionAt(offset: number, text: string): FunctionNode | undefined {
    const found = this.scopes.functions
      .map((each) => this.#withoutStatic(each))
      .filter(
        ({ textStart, end }) =>
          textStart <= offset &&
          offset <= end &&
          end - textStart === text.length &&
          this.source.startsWith(text, textStart),
      );
    return found.length === 1 ? found[0] : undefined;
  }

  /** A method's text, as `toString` gives it, is without "static". */
  #withoutStatic(each: FunctionNode): FunctionNode {
    if (each.method?.static !== true) return each;
    const [skipped = ""] =
      /^static(?:\s|\/\*[^]*?\*\/|\/\/.*\n)*/.exec(this.source.slice(each.textStart, each.end)) ?? [];
    return { ...each, textStart: each.textStart + skipped.length };
  }

  /** Where a place stands in the file that the user wrote; all numbers from 0. */
  original(line: number, column: number): OriginalPlace | undefined {
    const map = this.#traceMap();
    if (map === undefined) return { source: this.path ?? this.url, line, column };
    const { line: first, column: shift } = this.#start;
    const found = originalPositionFor(map, {
      line: line + first + 1,
      column: Math.max(0, line === 0 ? column + shift : column),
    });
    if (found.source === null) return undefined;
    return { source: pathOf(found.source) ?? found.source, line: found.line - 1, column: found.column };
  }

  #traceMap(): TraceMap | undefined {
    if (this.#map === undefined) this.#map = this.#readMap() ?? null;
    return this.#map ?? undefined;
  }

  #readMap(): TraceMap | undefined {
    try {
      const url = this.#sourceMapUrl || mapComment(this.source);
      const text = url === "" ? viteSourceMap(this.path) : mapText(url, this.path);
      return text === undefined ? undefined : new TraceMap(text, this.url);
    } catch {
      return undefined;
    }
  }
}

/** V8 takes the comment at the end of a text only; vitest wraps it. */
function mapComment(source: string): string {
  const [, url = ""] = /\n\/\/# sourceMappingURL=(data:application\/json\S+)/.exec(source) ?? [];
  return url;
}

function mapText(url: string, path: string | undefined): string | undefined {
  const data = /^data:application\/json[^,]*?(;base64)?,(.*)$/s.exec(url);
  if (data !== null)
    return data[1] === undefined
      ? decodeURIComponent(data[2] ?? "")
      : Buffer.from(data[2] ?? "", "base64").toString();
  if (url === "" || path === undefined || /^[a-z]+:/i.test(url)) return undefined;
  return readFileSync(join(dirname(path), url), "utf8");
}

function pathOf(url: string): string | undefined {
  try {
    if (url.startsWith("file:")) return fileURLToPath(url.replace(/[?#].*$/s, ""));
    return url.startsWith("/") ? url.replace(/\?.*$/s, "") : undefined;
  } catch {
    return undefined;
  }
}
