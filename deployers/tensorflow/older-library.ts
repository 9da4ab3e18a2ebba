// Makes a saved_model.pb of today loadable by the TensorFlow library of tfjs-node, which is 2.9: what is new since then
// serves saving or debugging, and goes. Field numbers: saved_model.proto, meta_graph.proto, graph.proto, node_def.proto.
import { bytesOf, WireFile, type Field, type Span } from "../wire.ts";

/** A stretch of the old file, or new bytes. */
type Piece = Span | Uint8Array;

/** What becomes of a field: undefined leaves it as it is. */
type Change = (field: Field) => readonly Piece[] | undefined;

export interface OlderGraph {
  /** The whole new file, in order. */
  readonly pieces: readonly Piece[];
  readonly isChanged: boolean;
  /** It reads variables, which lie in files of their own. */
  readonly hasVariables: boolean;
}

/** @throws WireError for a damaged file */
export function forOlderLibrary(file: WireFile): OlderGraph {
  return new Rewriter(file).savedModel();
}

const NAME = 1;
const OP = 2;
const INPUT = 3;
const ATTRIBUTE = 5;

class Rewriter {
  readonly #file: WireFile;
  #isChanged = false;
  #hasVariables = false;

  constructor(file: WireFile) {
    this.#file = file;
  }

  savedModel(): OlderGraph {
    const pieces = this.#message(
      this.#file.span,
      this.#inside(2, (graph) => this.#metaGraph(graph)),
    );
    return { pieces, isChanged: this.#isChanged, hasVariables: this.#hasVariables };
  }

  #metaGraph(message: Span): readonly Piece[] {
    return this.#message(
      message,
      this.#inside(2, (graph) => this.#graph(graph)),
    );
  }

  #graph(message: Span): readonly Piece[] {
    const node = this.#inside(1, (inner) => this.#node(inner));
    const nodeOfFunction = this.#inside(3, (inner) => this.#node(inner));
    const body = this.#inside(1, (inner) => this.#message(inner, nodeOfFunction));
    const library = this.#inside(2, (inner) => this.#message(inner, body));
    return this.#message(message, (field) => node(field) ?? library(field));
  }

  #node(message: Span): readonly Piece[] {
    const op = this.#operation(message);
    if (op === "VarHandleOp") {
      this.#hasVariables = true;
      return this.#message(message, (field) => (this.#isDebugName(field) ? this.#drop() : undefined));
    }
    if (op === "VariableV2") this.#hasVariables = true;
    // Part of the function that saves; without effect it is as good, and others may wait for it.
    return op === "DisableCopyOnRead" ? this.#message(message, (field) => this.#idle(field)) : [message];
  }

  /** A field of a NoOp: its name and the nodes that it waits for. */
  #idle(field: Field): readonly Piece[] | undefined {
    if (field.number === OP) return lengthDelimited(OP, [Buffer.from("NoOp")]);
    if (field.number === INPUT && !this.#file.text(bytesOf(field)).startsWith("^")) return this.#drop();
    return field.number === ATTRIBUTE ? this.#drop() : undefined;
  }

  #operation(message: Span): string {
    for (const field of this.#file.fields(message))
      if (field.number === OP) return this.#file.text(bytesOf(field));
    return "";
  }

  #isDebugName(field: Field): boolean {
    if (field.number !== ATTRIBUTE) return false;
    for (const part of this.#file.fields(bytesOf(field)))
      if (part.number === NAME) return this.#file.text(bytesOf(part)) === "debug_name";
    return false;
  }

  #drop(): readonly Piece[] {
    this.#isChanged = true;
    return [];
  }

  /** The change that rewrites the messages in the fields of one number. */
  #inside(number: number, rewrite: (message: Span) => readonly Piece[]): Change {
    return (field) => {
      if (field.number !== number) return undefined;
      const message = bytesOf(field);
      const content = rewrite(message);
      return isWhole(content, message) ? undefined : lengthDelimited(number, content);
    };
  }

  #message(message: Span, change: Change): readonly Piece[] {
    const pieces: Piece[] = [];
    for (const { field, whole } of this.#file.entries(message))
      for (const piece of change(field) ?? [whole]) add(pieces, piece);
    return pieces;
  }
}

/** Neighbours become one, so that an unchanged graph is one stretch. */
function add(pieces: Piece[], piece: Piece): void {
  const last = pieces.at(-1);
  if (last !== undefined && "start" in last && "start" in piece && last.end === piece.start)
    pieces[pieces.length - 1] = { start: last.start, end: piece.end };
  else pieces.push(piece);
}

function isWhole([only, ...others]: readonly Piece[], message: Span): boolean {
  if (only === undefined) return message.start === message.end;
  return others.length === 0 && "start" in only && only.start === message.start && only.end === message.end;
}

function lengthDelimited(number: number, content: readonly Piece[]): readonly Piece[] {
  const size = content.reduce((sum, piece) => sum + sizeOf(piece), 0);
  return [Buffer.from([...varint(number * 8 + 2), ...varint(size)]), ...content];
}

function sizeOf(piece: Piece): number {
  return "start" in piece ? piece.end - piece.start : piece.byteLength;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}
