// An image registry of this machine, with or without a login; the engine takes those on loopback without TLS.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { existsSync } from "node:fs";
import { freePort } from "../helpers/free-ports.ts";

/** Of Debian's package docker-registry. */
const PROGRAM = "/usr/bin/docker-registry";
export const hasRegistry: boolean = existsSync(PROGRAM);

export const LOGIN = { username: "windjammer", password: "hush" } as const;
/** Made by bcrypt of the password above. */
const HTPASSWD = `${LOGIN.username}:$2b$05$kgyYFYhbM7qDLWtL0gSte.vALinO63Ce7r3rek9PRaCysLWMo.l/K\n`;

export class Registry implements AsyncDisposable {
  /** As it begins the names of images: "127.0.0.1:5000". */
  readonly address: string;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(address: string, folder: string) {
    this.address = address;
    this.#folder = folder;
  }

  /** @param hasLogin only `LOGIN` gets in */
  static async start({ hasLogin = false }: { readonly hasLogin?: boolean } = {}): Promise<Registry> {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-registry-"));
    const registry = new Registry(`127.0.0.1:${await freePort()}`, folder);
    const htpasswd = join(folder, "htpasswd");
    await writeFile(htpasswd, HTPASSWD);
    const auth = hasLogin ? `auth: { htpasswd: { realm: test, path: "${htpasswd}" } }\n` : "";
    const config =
      `version: 0.1\nlog: { level: error, accesslog: { disabled: true } }\n` +
      `storage: { filesystem: { rootdirectory: "${folder}/data" } }\nhttp: { addr: "${registry.address}" }\n${auth}`;
    await writeFile(join(folder, "config.yml"), config);
    await registry.begin();
    return registry;
  }

  async begin(): Promise<void> {
    this.#child = spawn(PROGRAM, ["serve", join(this.#folder, "config.yml")], { stdio: "ignore" });
    const giveUpAt = performance.now() + 60_000;
    while (performance.now() < giveUpAt) {
      if (await this.#answers()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the registry at ${this.address} does not answer`);
  }

  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  }

  /** Digest of an image that it has; undefined: it has none of this name and tag. */
  async digestOf(name: string, tag: string): Promise<string | undefined> {
    const accept = "application/vnd.docker.distribution.manifest.v2+json";
    const basic = Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString("base64");
    const reply = await fetch(`http://${this.address}/v2/${name}/manifests/${tag}`, {
      headers: { accept, authorization: `Basic ${basic}` },
    });
    return reply.ok ? (reply.headers.get("docker-content-digest") ?? undefined) : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #answers(): Promise<boolean> {
    const reply = await fetch(`http://${this.address}/v2/`).catch(() => undefined);
    return reply !== undefined;
  }
}
