// An npm registry of a few made-up packages on the loopback interface, for what a real one cannot be asked to do.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { pack } from "tar-fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";

export interface MadeUpPackage {
  readonly name: string;
  readonly version: string;
  /** More fields of its package.json. */
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Beside package.json. */
  readonly files: Readonly<Record<string, string>>;
}

export interface LocalRegistry extends AsyncDisposable {
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[];
  /** Resolves when a path that never answers was asked for. */
  readonly hangs: Promise<void>;
}

/** Everything below /hangs is never answered. */
export async function localRegistry(packages: readonly MadeUpPackage[]): Promise<LocalRegistry> {
  const tarballs = new Map<string, Buffer>();
  for (const made of packages) tarballs.set(tarballPath(made), await tarball(made));
  const requests: string[] = [];
  const hang = Promise.withResolvers<void>();
  let url = "";

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(request.url ?? "");
    requests.push(path);
    if (path === "/hangs") return hang.resolve();
    const body = tarballs.get(path) ?? packument(path.slice(1), { packages, tarballs, url });
    if (body === undefined) {
      response.writeHead(404, { "content-type": "application/json" }).end(`{"error":"not found"}`);
      return;
    }
    response.end(body);
  }

  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    requests,
    hangs: hang.promise,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function tarballPath({ name, version }: MadeUpPackage): string {
  return `/${name}/-/${name.split("/").at(-1)}-${version}.tgz`;
}

interface Contents {
  readonly packages: readonly MadeUpPackage[];
  readonly tarballs: ReadonlyMap<string, Buffer>;
  readonly url: string;
}

function packument(name: string, { packages, tarballs, url }: Contents): string | undefined {
  const own = packages.filter((made) => made.name === name);
  if (own.length === 0) return undefined;
  const versions = own.map((made) => {
    const path = tarballPath(made);
    const integrity = createHash("sha512")
      .update(tarballs.get(path) ?? "")
      .digest("base64");
    return [
      made.version,
      { ...packageFields(made), dist: { tarball: url + path, integrity: `sha512-${integrity}` } },
    ];
  });
  return JSON.stringify({
    name,
    "dist-tags": { latest: own.at(-1)?.version },
    versions: Object.fromEntries(versions) as unknown,
  });
}

function packageFields({ name, version, fields }: MadeUpPackage): Record<string, unknown> {
  const hasInstallScript = (fields?.["scripts"] as { install?: string } | undefined)?.install !== undefined;
  return { name, version, ...fields, ...(hasInstallScript ? { hasInstallScript } : {}) };
}

async function tarball(made: MadeUpPackage): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "windjammer-tarball-"));
  const files = { ...made.files, "package.json": JSON.stringify(packageFields(made)) };
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, "package", name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  const packed = gzipSync(await buffer(pack(folder)));
  await rm(folder, { recursive: true });
  return packed;
}
