// Clipper's RPC protocol (version 3) as bytes: what a model container says, and what it is told.
import type { InputType } from "../../../containers/protocol.ts";

export const RPC_VERSION = 3;

/** Input types of the protocol; the index is the code on the wire. */
const INPUT_TYPES: readonly RpcInputType[] = ["bytes", "integers", "floats", "doubles", "strings"];
export type RpcInputType = Exclude<InputType, "json" | "tensor">;

const [NEW_CONTAINER, CONTENT, HEARTBEAT] = [0, 1, 2] as const;
const [KEEP_ALIVE, SEND_METADATA] = [0, 1] as const;
/** The other kind, feedback, is never sent. */
const PREDICT = 0;

const U32 = 4;
const U64 = 8;
const EMPTY: Buffer = Buffer.alloc(0);

/** What a container calls itself. */
export interface ContainerMetadata {
  readonly model: string;
  readonly version: string;
  /** Undefined: a code that the protocol does not know. */
  readonly inputType: RpcInputType | undefined;
}

/** One message of a container, as it is behind its routing identity. */
export type ContainerMessage =
  | { readonly kind: "heartbeat" }
  | {
      readonly kind: "metadata";
      readonly metadata: ContainerMetadata;
      readonly rpcVersion: number | undefined;
    }
  | { readonly kind: "response"; readonly messageId: number; readonly outputs: readonly Uint8Array[] }
  /** `messageId`: the request it is the answer to, where that much can be read. */
  | { readonly kind: "malformed"; readonly why: string; readonly messageId?: number };

/** Never throws: what makes no sense is `malformed`. */
export function readMessage(frames: readonly Buffer[]): ContainerMessage {
  const [delimiter, type, ...rest] = frames;
  if (delimiter?.length !== 0) return { kind: "malformed", why: "its first part is not empty" };
  const code = type === undefined ? undefined : u32(type);
  if (code === HEARTBEAT) return { kind: "heartbeat" };
  if (code === NEW_CONTAINER) return readMetadata(rest);
  if (code === CONTENT) return readResponse(rest);
  return { kind: "malformed", why: `its type is ${code ?? "missing"}` };
}

function readMetadata([name, version, inputType, rpcVersion]: readonly Buffer[]): ContainerMessage {
  if (name === undefined || version === undefined || inputType === undefined)
    return { kind: "malformed", why: "its metadata are cut off" };
  const code = /^\d$/.test(inputType.toString("latin1")) ? Number(inputType.toString("latin1")) : -1;
  return {
    kind: "metadata",
    metadata: { model: name.toString(), version: version.toString(), inputType: INPUT_TYPES[code] },
    rpcVersion: rpcVersion === undefined ? undefined : u32(rpcVersion),
  };
}

function readResponse([id, headerSize, header, ...outputs]: readonly Buffer[]): ContainerMessage {
  const messageId = id === undefined ? undefined : u32(id);
  if (messageId === undefined) return { kind: "malformed", why: "its response has no message id" };
  const lengths = outputLengths(headerSize, header);
  if (lengths === undefined)
    return { kind: "malformed", why: "the header of its response does not add up", messageId };
  if (outputs.length !== lengths.length || outputs.some((output, index) => output.length !== lengths[index]))
    return { kind: "malformed", why: "its outputs are not as long as its header says", messageId };
  return { kind: "response", messageId, outputs };
}

/** The header is a count, and as many lengths. */
function outputLengths(
  headerSize: Buffer | undefined,
  header: Buffer | undefined,
): readonly number[] | undefined {
  if (header === undefined || headerSize?.length !== U64) return undefined;
  if (Number(headerSize.readBigUInt64LE()) !== header.length) return undefined;
  const [count, ...lengths] = u64s(header) ?? [];
  return count === lengths.length ? lengths : undefined;
}

/** Answer to a heartbeat; `asksForMetadata` of one that is not known. Also a sign of life of ours. */
export function heartbeatFrames(asksForMetadata: boolean): readonly Uint8Array[] {
  return [EMPTY, word(RPC_VERSION), word(HEARTBEAT), word(asksForMetadata ? SEND_METADATA : KEEP_ALIVE)];
}

export interface PredictRequest {
  readonly messageId: number;
  readonly inputType: RpcInputType;
  /** Raw data of each input: numbers little-endian, text as UTF-8. */
  readonly inputs: readonly Uint8Array[];
}

export function predictFrames({ messageId, inputType, inputs }: PredictRequest): readonly Uint8Array[] {
  const header = Buffer.alloc(U64 * (inputs.length + 2));
  header.writeBigUInt64LE(BigInt(INPUT_TYPES.indexOf(inputType)), 0);
  header.writeBigUInt64LE(BigInt(inputs.length), U64);
  for (const [index, { byteLength }] of inputs.entries())
    header.writeBigUInt64LE(BigInt(byteLength), U64 * (index + 2));
  const headerSize = Buffer.alloc(U64);
  headerSize.writeBigUInt64LE(BigInt(header.length));
  return [
    EMPTY,
    word(RPC_VERSION),
    word(CONTENT),
    word(messageId),
    word(PREDICT),
    headerSize,
    header,
    ...inputs,
  ];
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(U32);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u32(bytes: Buffer): number | undefined {
  return bytes.length === U32 ? bytes.readUInt32LE() : undefined;
}

function u64s(bytes: Buffer): readonly number[] | undefined {
  if (bytes.length === 0 || bytes.length % U64 !== 0) return undefined;
  return Array.from({ length: bytes.length / U64 }, (_, index) => Number(bytes.readBigUInt64LE(index * U64)));
}
