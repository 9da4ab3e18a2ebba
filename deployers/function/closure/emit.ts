// The code file: each function's text, verbatim but for shared variables, in a factory that declares what it captures.
import { basename, isAbsolute, relative } from "node:path";
import { encode, type SourceMapSegment } from "@jridgewell/sourcemap-codec";
import { MagicString } from "magic-string";
import type { FunctionNode, Reference } from "./scope-types.ts";
import type { Script } from "./script.ts";

/** A change of the text; offsets of the script. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface Piece {
  /** Name of its factory in the code file. */
  readonly code: string;
  readonly script: Script;
  readonly fn: FunctionNode;
  readonly edits: readonly Edit[];
  readonly constants: readonly string[];
  readonly late: readonly string[];
}

/** Name under which a shared variable's cell is captured. */
export function cellName(name: string): string {
  return `$wj_${name}`;
}

/** Makes a use of a variable a use of its cell. */
export function cellEdit({ name, start, end, isShorthand, isCalled }: Reference): Edit {
  const use = `${cellName(name)}.v`;
  return { start, end, text: isShorthand ? `${name}: ${use}` : isCalled ? `(0, ${use})` : use };
}

export class CodeFile {
  readonly #lines: string[] = [];
  readonly #mappings: SourceMapSegment[][] = [];
  readonly #sources: string[] = [];

  add(piece: Piece): void {
    const { fn, constants, late } = piece;
    const strict = fn.isStrict ? '"use strict"; ' : "";
    const declared = [
      ...constants.map((name) => `const ${name} = $wj_c[${JSON.stringify(name)}]; `),
      ...late.map((name) => `let ${name}; `),
    ].join("");
    const set = late.map((name) => `${name} = $wj_l[${JSON.stringify(name)}];`).join(" ");
    const [before, after] = wrapping(fn);
    const opening = `exports.${piece.code} = function ($wj_c) { ${strict}${declared}return [${before}`;
    this.#addText(opening, piece);
    this.#append(`${after}, function ($wj_l) { ${set} }]; };`);
  }

  text(mapFile: string): string {
    return `${this.#lines.join("\n")}\n//# sourceMappingURL=${mapFile}\n`;
  }

  map(file: string): string {
    const mappings = encode(this.#mappings);
    return JSON.stringify({ version: 3, file, sources: this.#sources, names: [], mappings });
  }

  #append(text: string): void {
    const last = this.#lines.length - 1;
    this.#lines[last] = `${this.#lines[last] ?? ""}${text}`;
  }

  #addText(opening: string, { script, fn, edits }: Piece): void {
    const from = fn.method === undefined ? fn.textStart : fn.node.start;
    const text = new MagicString(script.source.slice(from, fn.end));
    for (const { start, end, text: replacement } of edits) {
      if (start === end) text.appendLeft(start - from, replacement);
      else if (replacement === "") text.remove(start - from, end - from);
      else text.update(start - from, end - from, replacement);
    }
    const place = script.placeOf(from);
    const { mappings } = text.generateDecodedMap({ hires: "boundary" });
    for (const [index, line] of text.toString().split("\n").entries()) {
      const shift = index === 0 ? opening.length : 0;
      this.#lines.push(index === 0 ? opening + line : line);
      const segments = (mappings[index] ?? []) as readonly (readonly number[])[];
      const mapped = segments.map(([column = 0, , sourceLine = 0, sourceColumn = 0]) => {
        const original = script.original(
          place.line + sourceLine,
          sourceColumn + (sourceLine === 0 ? place.column : 0),
        );
        if (original === undefined) return undefined;
        const { source, line: originalLine, column: originalColumn } = original;
        return [column + shift, this.#source(source), originalLine, originalColumn] as SourceMapSegment;
      });
      this.#mappings.push(mapped.filter((segment) => segment !== undefined));
    }
  }

  /** Index of a file; relative to the working folder, so that no folder of this machine gets into the bundle. */
  #source(path: string): number {
    const inside = relative(process.cwd(), path);
    const name = !isAbsolute(path) ? path : inside.startsWith("..") ? basename(path) : inside;
    const known = this.#sources.indexOf(name);
    return known >= 0 ? known : this.#sources.push(name) - 1;
  }
}

/** What makes an expression of the text: methods only stand in an object. */
function wrapping({ kind, method, node }: FunctionNode): readonly [before: string, after: string] {
  if (kind === "statement") return ["(async () => { ", " })"];
  if (kind !== "method" || method === undefined) return ["(", ")"];
  if (method.kind === "get" || method.kind === "set")
    return [`Object.getOwnPropertyDescriptor({ ${method.kind} m`, ` }, "m").${method.kind}`];
  return [`({ ${node.async === true ? "async " : ""}${node.generator === true ? "*" : ""}m`, " }).m"];
}
