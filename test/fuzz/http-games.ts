// Requests that are no proper HTTP, or play with its limits; every dialect's server gets them.
import type { FuzzCase } from "./runner.ts";
import type { Random } from "./random.ts";

export interface GameOptions {
  readonly url: string;
  readonly path: string;
  /** A body that is right. */
  readonly body: Buffer;
}

/** Damages a body: cuts it off, changes or adds bytes, doubles it, or puts noise in its place. */
export function damage(random: Random, body: Buffer): Buffer {
  const kind = random.int(6);
  if (kind === 0) return body.subarray(0, random.int(body.length + 1));
  if (kind === 1) return Buffer.concat([body, random.bytes(1 + random.int(8))]);
  if (kind === 2) return Buffer.concat([body, body]);
  if (kind === 3) return random.bytes(random.int(200));
  if (kind === 4) return Buffer.concat([random.pick([NO_UTF8, DEEP, MARK]), body]);
  const copy = Buffer.from(body);
  for (let count = 1 + random.int(4); count > 0 && copy.length > 0; count--)
    copy[random.int(copy.length)] = random.int(256);
  return copy;
}

const NO_UTF8: Buffer = Buffer.from([0xff, 0xfe, 0xc0, 0x80]);
const DEEP: Buffer = Buffer.from("[".repeat(5000));
const MARK: Buffer = Buffer.from("\ufeff");

/** A request whose length, headers, request line or pace is wrong. */
export function httpGame(random: Random, { url, path, body }: GameOptions): FuzzCase {
  const game = random.pick(GAMES);
  return { kind: "raw", url, pieces: game({ random, path, body }) };
}

function head(line: string, ...headers: readonly string[]): Buffer {
  return Buffer.from([line, "Host: 127.0.0.1", ...headers, "", ""].join("\r\n"), "latin1");
}

interface GameParts {
  readonly random: Random;
  readonly path: string;
  readonly body: Buffer;
}

type Game = (parts: GameParts) => readonly Buffer[];

const GAMES: readonly [Game, ...Game[]] = [
  // A length that is too long: the rest never comes.
  ({ random, path, body }) => [
    head(`POST ${path} HTTP/1.1`, `Content-Length: ${body.length + 1 + random.int(1000)}`),
    body,
  ],
  // Too short: what is behind it is another request, which it is not.
  ({ random, path, body }) => [
    head(`POST ${path} HTTP/1.1`, `Content-Length: ${random.int(body.length + 1)}`),
    body,
  ],
  // Lengths that are none, contradict each other or are beyond every limit.
  ({ random, path, body }) => [
    head(
      `POST ${path} HTTP/1.1`,
      ...random.pick([
        ["Content-Length: -1"],
        ["Content-Length: 99999999999999999999"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 0x10"],
        ["Content-Length: 999999999"],
      ]),
    ),
    body,
  ],
  // Chunks that are right, cut off, or nonsense.
  ({ random, path, body }) => [
    head(`POST ${path} HTTP/1.1`, "Transfer-Encoding: chunked"),
    Buffer.from(`${(body.length + random.int(3)).toString(16)}\r\n`),
    body,
    Buffer.from(random.pick(["\r\n0\r\n\r\n", "\r\n", "zz\r\n", "0\r\n\r\n"])),
  ],
  // Encodings that the body does not have.
  ({ random, path, body }) => [
    head(
      `POST ${path} HTTP/1.1`,
      `Content-Encoding: ${random.pick(["gzip", "deflate", "br", "gzip, gzip", "\u00e9"])}`,
      `Content-Length: ${body.length}`,
      "Connection: close",
    ),
    body,
  ],
  // Headers beyond the limit, in number or length, or malformed.
  ({ random, path, body }) => [
    head(
      `POST ${path} HTTP/1.1`,
      ...random.pick([
        Array.from({ length: 3000 }, (_, index) => `X-${index}: y`),
        [`X: ${"y".repeat(40_000)}`],
        ["No colon"],
        ["X: a\u0000b"],
        [" folded: x"],
      ]),
      `Content-Length: ${body.length}`,
    ),
    body,
  ],
  // Request lines.
  ({ random, path, body }) => [
    head(
      random.pick([
        `BREW ${path} HTTP/1.1`,
        `POST ${path} HTTP/9.9`,
        `POST ${path}`,
        `POST http://x:y${path} HTTP/1.1`,
        `POST ${"/a".repeat(9000)} HTTP/1.1`,
        `POST /%ff%00${path} HTTP/1.1`,
        `GET ${path}?${"x=1&".repeat(100)} HTTP/1.1`,
        `POST ${path.replace("/", "//")} HTTP/1.1`,
        "\u0000\u0001\u0002",
        `OPTIONS * HTTP/1.1`,
      ]),
      `Content-Length: ${body.length}`,
      "Connection: close",
    ),
    body,
  ],
  // A slow body, in many pieces, that may end early.
  ({ random, path, body }) => {
    const sent = random.chance(0.3) ? body.subarray(0, random.int(body.length + 1)) : body;
    const size = Math.max(1, Math.ceil(sent.length / 8));
    const pieces = Array.from({ length: Math.ceil(sent.length / size) }, (_, index) =>
      sent.subarray(index * size, (index + 1) * size),
    );
    return [head(`POST ${path} HTTP/1.1`, `Content-Length: ${body.length}`), ...pieces];
  },
  // Several requests at once on one connection, the last one cut off.
  ({ path, body }) => {
    const one = Buffer.concat([head(`POST ${path} HTTP/1.1`, `Content-Length: ${body.length}`), body]);
    return [Buffer.concat([one, one, one.subarray(0, -1)])];
  },
  // A client that asks before it sends.
  ({ random, path, body }) => [
    head(
      `POST ${path} HTTP/1.1`,
      `Expect: ${random.pick(["100-continue", "200-maybe"])}`,
      `Content-Length: ${random.chance(0.5) ? body.length : 2 ** 40}`,
      "Connection: close",
    ),
    body,
  ],
];
