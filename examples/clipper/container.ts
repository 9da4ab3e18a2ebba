// A model container that speaks Clipper's RPC (version 3, ZeroMQ), as those that its Python library makes: it connects to
// the server, says which model it is, and answers batches. Its model sums doubles, and multiplies the sum by FACTOR.
import { Dealer } from "zeromq";

const { CLIPPER_MODEL_NAME: name = "sum", CLIPPER_MODEL_VERSION: version = "1" } = process.env;
const { CLIPPER_IP: host = "127.0.0.1", CLIPPER_PORT: port = "7000", FACTOR = "1" } = process.env;
const RPC_VERSION = 3;
const DOUBLES = "3";
/** What a message is about; the first part of each is empty. */
const KINDS = { metadata: 0, content: 1, heartbeat: 2 } as const;

const socket = new Dealer({ linger: 0, receiveTimeout: 5000 });
process.once("SIGTERM", () => socket.close());
socket.connect(`tcp://${host}:${port}`);
await socket.send(["", uint32(KINDS.heartbeat)]);
while (!socket.closed) {
  const parts = await socket.receive().catch(() => undefined);
  if (parts !== undefined) await answer(parts);
  // Silence for 5 s: a heartbeat says that we live.
  else if (!socket.closed) await socket.send(["", uint32(KINDS.heartbeat)]);
}

async function answer([, , kind, value, , , , ...inputs]: readonly Buffer[]): Promise<void> {
  if (kind?.readUInt32LE() === KINDS.heartbeat && value?.readUInt32LE() === 1) {
    await socket.send(["", uint32(KINDS.metadata), name, version, DOUBLES, uint32(RPC_VERSION)]);
  }
  if (kind?.readUInt32LE() !== KINDS.content || value === undefined) return;
  const outputs = inputs.map((input) => Buffer.from(String(sum(input) * Number(FACTOR))));
  const header = Buffer.alloc(8 * (outputs.length + 1));
  for (const [index, size] of [outputs.length, ...outputs.map(({ length }) => length)].entries()) {
    header.writeBigUInt64LE(BigInt(size), 8 * index);
  }
  const headerBytes = Buffer.alloc(8);
  headerBytes.writeBigUInt64LE(BigInt(header.length));
  await socket.send(["", uint32(KINDS.content), value, headerBytes, header, ...outputs]);
}

function sum(doubles: Buffer): number {
  let total = 0;
  for (let at = 0; at < doubles.length; at += 8) total += doubles.readDoubleLE(at);
  return total;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
