// Reads BuildKit's progress out of a build's messages: protobuf of its StatusResponse, of which we need a few fields.

/** A step that began, ended or came from the cache. */
export interface Vertex {
  readonly digest: string;
  /** "[packages 3/5] RUN npm ci". */
  readonly name: string;
  readonly isCached: boolean;
  readonly hasStarted: boolean;
  readonly error: string;
}

/** Output of a step. */
interface VertexLog {
  readonly vertex: string;
  readonly data: Buffer;
}

interface BuildkitTrace {
  readonly vertexes: readonly Vertex[];
  readonly logs: readonly VertexLog[];
}

/** Id of the messages that carry a trace. */
export const TRACE_ID = "moby.buildkit.trace";

/** @param aux of a message with `TRACE_ID`: base64. What is no trace gives an empty one. */
export function readTrace(aux: unknown): BuildkitTrace {
  const vertexes: Vertex[] = [];
  const logs: VertexLog[] = [];
  for (const { number, bytes } of fieldsOf(Buffer.from(typeof aux === "string" ? aux : "", "base64"))) {
    if (number === 1) vertexes.push(vertexOf(fieldsOf(bytes)));
    if (number === 3) logs.push(logOf(fieldsOf(bytes)));
  }
  return { vertexes, logs };
}

function vertexOf(fields: readonly Field[]): Vertex {
  return {
    digest: textOf(fields, 1),
    name: textOf(fields, 3),
    isCached: numberOf(fields, 4) === 1,
    hasStarted: fields.some(({ number }) => number === 5),
    error: textOf(fields, 7),
  };
}

function logOf(fields: readonly Field[]): VertexLog {
  return { vertex: textOf(fields, 1), data: last(fields, 4)?.bytes ?? Buffer.alloc(0) };
}

interface Field {
  readonly number: number;
  /** Of a number. */
  readonly value: number;
  /** Of a text, bytes or a message. */
  readonly bytes: Buffer;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const NOTHING = Buffer.alloc(0);

/** Fields in their order; ends at what is malformed. */
function fieldsOf(message: Buffer): readonly Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; at < message.length; factor *= 128) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * factor;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < message.length) {
    const key = varint();
    const number = Math.floor(key / 8);
    const type = key % 8;
    if (type === VARINT) fields.push({ number, value: varint(), bytes: NOTHING });
    else if (type === BYTES) {
      const length = varint();
      fields.push({ number, value: 0, bytes: message.subarray(at, at + length) });
      at += length;
    } else if (type === FIXED64) at += 8;
    else if (type === FIXED32) at += 4;
    else break;
  }
  return fields;
}

function last(fields: readonly Field[], number: number): Field | undefined {
  return fields.findLast((field) => field.number === number);
}

function textOf(fields: readonly Field[], number: number): string {
  return last(fields, number)?.bytes.toString("utf8") ?? "";
}

function numberOf(fields: readonly Field[], number: number): number {
  return last(fields, number)?.value ?? 0;
}
