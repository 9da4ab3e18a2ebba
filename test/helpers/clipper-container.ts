// A model container of Clipper's, message by message as its Python library (rpc.py) behaves, in this process.
import { Dealer } from "zeromq";
import { isNodeError } from "../../core/errors.ts";

export interface TestContainerOptions {
  /** What the server's RPC port is: tcp://127.0.0.1:7000. */
  readonly endpoint: string;
  readonly model: string;
  readonly version?: string;
  /** Code on the wire, as decimal text: 0 bytes, 1 integers, 2 floats, 3 doubles, 4 strings. */
  readonly inputType: number | string;
  /** Gets the raw inputs of a batch, gives an output each. Default: "1" each. */
  readonly predict?: (inputs: readonly Buffer[]) => readonly string[] | Promise<readonly string[]>;
  /** Silence after which it sends a heartbeat; rpc.py's is 5,000 ms. */
  readonly pollMs?: number;
  /** Last part of its metadata; null: none, as older libraries. Default 3. */
  readonly rpcVersion?: number | null;
}

/** More would look like a leak in a long run. */
const MAX_KEPT = 1000;
const HEARTBEAT = 2;
const CONTENT = 1;

export class TestContainer {
  readonly #options: TestContainerOptions;
  readonly #socket: Dealer;
  readonly #ended: Promise<void>;
  #isClosed = false;
  #isPredicting = false;
  /** The first messages that came, as their parts. */
  readonly received: Buffer[][] = [];
  metadataSent = 0;

  constructor(options: TestContainerOptions) {
    this.#options = options;
    this.#socket = new Dealer({ linger: 0, receiveTimeout: options.pollMs ?? 5000 });
    this.#socket.connect(options.endpoint);
    this.#ended = this.#run();
  }

  /** Answers a request by hand, with any parts behind the type. */
  async respond(...parts: readonly (Buffer | string)[]): Promise<void> {
    await this.#socket.send(["", word(CONTENT), ...parts]);
  }

  async heartbeat(): Promise<void> {
    await this.#socket.send(["", word(HEARTBEAT)]);
  }

  /** Closes its connection, as a process that ends. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    // A model that never returns is no reason to wait.
    if (!this.#isPredicting) await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    await this.heartbeat();
    while (!this.#isClosed) {
      try {
        await this.#handle(await this.#socket.receive());
      } catch (error) {
        if (this.#isClosed) return;
        if (!isNodeError(error) || error.code !== "EAGAIN") throw error;
        await this.heartbeat();
      }
    }
  }

  async #handle(frames: Buffer[]): Promise<void> {
    if (this.received.length < MAX_KEPT) this.received.push(frames);
    const type = frames[2]?.readUInt32LE();
    if (type === HEARTBEAT && frames[3]?.readUInt32LE() === 1) await this.#sendMetadata();
    if (type === CONTENT) await this.#predict(frames);
  }

  async #sendMetadata(): Promise<void> {
    const { model, version = "1", inputType, rpcVersion = 3 } = this.#options;
    this.metadataSent++;
    const last = rpcVersion === null ? [] : [word(rpcVersion)];
    await this.#socket.send(["", word(0), model, version, String(inputType), ...last]);
  }

  async #predict([, , , messageId, , , , ...inputs]: Buffer[]): Promise<void> {
    const { predict = (all) => all.map(() => "1") } = this.#options;
    this.#isPredicting = true;
    const outputs = await predict(inputs);
    this.#isPredicting = false;
    if (this.#isClosed || messageId === undefined) return;
    const header = Buffer.alloc(8 * (outputs.length + 1));
    header.writeBigUInt64LE(BigInt(outputs.length));
    for (const [index, output] of outputs.entries())
      header.writeBigUInt64LE(BigInt(Buffer.byteLength(output)), 8 * (index + 1));
    await this.respond(messageId, long(header.length), header, ...outputs);
  }
}

/** 4 bytes, little-endian. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** 8 bytes, little-endian. */
export function long(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
