// Reads a request's body whole, as bytes: its limit, its length and its content encoding.
import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { gunzip, inflate, inflateRaw } from "node:zlib";
import { giveBack } from "../../containers/spent-memory.ts";
import {
  BodyTooLargeError,
  InvalidRequestError,
  UnsupportedEncodingError,
  type WindjammerError,
} from "../errors.ts";
import { isNodeError } from "../errors.ts";

/**
 * Up to this length a body's memory is taken at once. What only claims to be longer gets memory as it arrives, so that
 * idle connections cannot make the server reserve a lot.
 */
const MAX_EAGER_BYTES = 8 * 2 ** 20;

/** What must not even be read. */
export function checkHeaders(request: IncomingMessage, maxBytes: number): WindjammerError | undefined {
  const length = Number(request.headers["content-length"] ?? 0);
  if (length > maxBytes) return tooLarge(maxBytes, `it has ${length} bytes`);
  const encoding = request.headers["content-encoding"];
  if (encoding === undefined || decoderOf(encoding) !== undefined) return undefined;
  return new UnsupportedEncodingError(
    `content encoding ${JSON.stringify(encoding.slice(0, 60))} is not understood; send the body plain, as gzip or as deflate`,
    { details: { encoding: encoding.slice(0, 60), supported: ["identity", "gzip", "deflate"] } },
  );
}

/** Called once. Never called when the client goes away before its body has arrived. */
export type BodyReader = (error: WindjammerError | undefined, body: Buffer) => void;

const NOTHING: Buffer = Buffer.alloc(0);

/** Collects a body that passed `checkHeaders`. With an error, the rest of the body is still to come. */
export function readBody(request: IncomingMessage, maxBytes: number, done: BodyReader): void {
  const collector = new Collector(Number(request.headers["content-length"] ?? -1));
  let isOver = false;
  request.on("data", (chunk: Buffer) => {
    if (isOver) return;
    collector.add(chunk);
    if (collector.length <= maxBytes) return;
    isOver = true;
    done(tooLarge(maxBytes, "it goes on behind that"), NOTHING);
  });
  request.on("end", () => {
    if (isOver) return;
    const encoding = request.headers["content-encoding"];
    const decode = encoding === undefined ? undefined : decoderOf(encoding);
    if (decode === undefined || decode === "identity") done(undefined, collector.take());
    else void decompress(decode, collector.take(), maxBytes).then(...settled(done));
  });
}

function settled(done: BodyReader): [(body: Buffer) => void, (error: WindjammerError) => void] {
  return [(body) => done(undefined, body), (error) => done(error, NOTHING)];
}

/** Joins chunks: a body of one chunk without a copy, of known length in one allocation. */
class Collector {
  readonly #declared: number;
  readonly #chunks: Buffer[] = [];
  #joined: Buffer | undefined;
  length = 0;

  constructor(declared: number) {
    this.#declared = declared;
  }

  add(chunk: Buffer): void {
    const isWhole = this.length === 0 && chunk.length === this.#declared;
    if (this.length === 0 && !isWhole && this.#declared > 0 && this.#declared <= MAX_EAGER_BYTES) {
      this.#joined = Buffer.allocUnsafeSlow(this.#declared);
    }
    this.length += chunk.length;
    if (this.#joined === undefined) {
      this.#chunks.push(chunk);
    } else {
      chunk.copy(this.#joined, this.length - chunk.length);
      giveBack(chunk);
    }
  }

  take(): Buffer {
    if (this.#joined !== undefined) return this.#joined;
    const [only] = this.#chunks;
    return this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks, this.length);
  }
}

type Decoding = "identity" | "gzip" | "deflate";

function decoderOf(encoding: string): Decoding | undefined {
  const name = encoding.trim().toLowerCase();
  if (name === "" || name === "identity") return "identity";
  if (name === "gzip" || name === "x-gzip") return "gzip";
  return name === "deflate" ? "deflate" : undefined;
}

const DECOMPRESS = {
  gzip: promisify(gunzip),
  deflate: promisify(inflate),
  raw: promisify(inflateRaw),
} as const;

/** Off the event loop; stops as soon as the limit is passed, whatever the archive claims. */
async function decompress(
  decoding: Exclude<Decoding, "identity">,
  body: Buffer,
  maxBytes: number,
): Promise<Buffer> {
  // "deflate" means the zlib format (first byte 0x?8); some clients send raw deflate all the same.
  const isRaw = decoding === "deflate" && ((body[0] ?? 0) & 0x0f) !== 8;
  try {
    return await DECOMPRESS[isRaw ? "raw" : decoding](body, { maxOutputLength: maxBytes });
  } catch (error) {
    if (isNodeError(error) && error.code === "ERR_BUFFER_TOO_LARGE") {
      throw tooLarge(maxBytes, `its ${body.length} bytes of ${decoding} unpack to more`);
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidRequestError(
      `the body is not valid ${decoding}, as its Content-Encoding says: ${reason}`,
      {
        cause: error,
      },
    );
  }
}

function tooLarge(maxBytes: number, what: string): BodyTooLargeError {
  return new BodyTooLargeError(
    `the body is larger than ${maxBytes} bytes: ${what}; send less at once, or raise maxBodyBytes`,
    { details: { limit: maxBytes } },
  );
}
