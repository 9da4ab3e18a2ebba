// The way to an engine on another machine as the docker command goes it: HTTP through `ssh HOST docker system dial-stdio`.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { Agent } from "node:http";
import { Duplex } from "node:stream";
import type { EngineAddress } from "./engine-address.ts";

type SshAddress = Extract<EngineAddress, { readonly kind: "ssh" }>;

/** Code of errors of these connections. */
export const SSH_FAILED = "ESSH";
/** What ssh has said is kept for an error, characters. */
const KEPT_WORDS = 2_000;

/**
 * An agent whose connections go through the user's own ssh: its configuration, its keys and agent, its known hosts.
 * It asks nothing: whatever would take a password fails.
 */
export function sshAgent(address: SshAddress): Agent {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 2 });
  agent.createConnection = (_, connected): Duplex => {
    const connection = new SshConnection(sshArguments(address));
    // Writing may begin at once: what is written waits for ssh.
    connected?.(null, connection);
    return connection;
  };
  return agent;
}

function sshArguments({ host, port, user, path }: SshAddress): readonly string[] {
  const patience = ["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "BatchMode=yes"];
  const where = [
    ...(port === undefined ? [] : ["-p", String(port)]),
    ...(user === undefined ? [] : ["-l", user]),
    "--",
    host,
  ];
  const engine = path === undefined ? [] : ["--host", `unix://${path}`];
  return ["-T", ...patience, ...where, "docker", ...engine, "system", "dial-stdio"];
}

/** Both pipes of one ssh as a stream; looks enough like a socket for Node's HTTP client. */
class SshConnection extends Duplex {
  readonly #child: ChildProcessWithoutNullStreams;
  #said = "";

  constructor(args: readonly string[]) {
    super();
    this.#child = spawn("ssh", args);
    const { stdin, stdout, stderr } = this.#child;
    stdout.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) stdout.pause();
    });
    stdin.on("error", () => {});
    stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-KEPT_WORDS);
    });
    this.#child.once("error", (error) => this.destroy(sshError(error.message)));
    this.#child.once("close", (code) => {
      if (code === 0) this.push(null);
      else this.destroy(sshError(this.#said.trim() || `ended with code ${code}`));
    });
  }

  override _read(): void {
    this.#child.stdout.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#child.stdin.write(chunk, () => done());
  }

  override _final(done: () => void): void {
    this.#child.stdin.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#child.kill();
    done(error);
  }

  /** One that waits for the next call keeps no process. */
  unref(): this {
    return this.#hold("unref");
  }

  ref(): this {
    return this.#hold("ref");
  }

  /** ssh itself notices a connection that is lost. */
  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  #hold(way: "ref" | "unref"): this {
    this.#child[way]();
    for (const pipe of [this.#child.stdin, this.#child.stdout, this.#child.stderr])
      (pipe as unknown as { ref(): void; unref(): void })[way]();
    return this;
  }
}

/** With a code, as errors of other connections have. */
function sshError(said: string): Error {
  return Object.assign(new Error(`ssh: ${said}`), { code: SSH_FAILED });
}
