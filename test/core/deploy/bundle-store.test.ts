// The bundle store: what it accepts, what it refuses, and that nothing is ever half there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer, request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PassThrough, Readable } from "node:stream";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { MANIFEST_FILE } from "../../../containers/protocol.ts";
import { BundleStore } from "../../../core/deploy/bundle-store.ts";
import { hashFolder, packFolder } from "../../../core/deploy/bundle.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import {
  BodyTooLargeError,
  BundleNotFoundError,
  DiskFullError,
  InvalidBundleError,
  StateDirError,
} from "../../../core/errors.ts";
import { answering, writeBundle } from "../../helpers/bundles.ts";
import { tempFolder } from "../../helpers/temp.ts";
import { mountSmallDisk, whyNoMount } from "../small-disk.ts";
import { pax, tar, TAR_END, tarEntry, type TarEntry } from "./tar-bytes.ts";

const RECEIVE_PROGRAM = join(import.meta.dirname, "receive-program.ts");
const LIMITS = { maxBytes: 1_000_000, maxEntries: 50 };
const MANIFEST: TarEntry = {
  name: MANIFEST_FILE,
  content: JSON.stringify(manifest({ deployer: "test", loader: "function", inputType: "json" })),
};

let root: string;
let bundles: BundleStore;

beforeEach(async () => {
  root = join(await tempFolder("wj-bundles-"), "bundles");
  bundles = new BundleStore(root, LIMITS);
  await bundles.open();
});

function receive(...parts: readonly Buffer[]): ReturnType<BundleStore["receive"]> {
  return bundles.receive(Readable.from(parts, { objectMode: false }));
}

async function aBundle(output = "input"): Promise<string> {
  const folder = await tempFolder("wj-bundle-");
  await writeBundle(folder, { source: answering(output) });
  return folder;
}

async function refusal(receiving: Promise<unknown>): Promise<Error> {
  const error: unknown = await receiving.catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(Error);
  expect(await readdir(root)).toEqual([]);
  return error as Error;
}

function* repeated(block: Buffer, times: number): Generator<Buffer> {
  yield tarEntry(MANIFEST);
  for (let count = 0; count < times; count++) yield block;
}

describe("a bundle that arrives", () => {
  test("is stored under the hash of its content, and found again", async () => {
    const folder = await aBundle();
    const stored = await bundles.receive(packFolder(folder));

    expect(stored.hash).toBe(await hashFolder(folder));
    expect(stored.root).toBe(join(root, stored.hash));
    expect(await hashFolder(stored.files)).toBe(stored.hash);
    expect(stored.manifest).toMatchObject({ loader: "function", model: { file: "function.mjs" } });
    expect(await readdir(root)).toEqual([stored.hash]);
    expect(await readdir(stored.root)).toEqual(["files"]);
    expect(await bundles.get(stored.hash)).toEqual(stored);
    expect(await bundles.hashes()).toEqual([stored.hash]);
    expect(await new BundleStore(root, LIMITS).find(stored.hash)).toEqual(stored);
  });

  test("keeps bytes, executable bits and deep names, and no other permissions or owners", async () => {
    const { files } = await receive(
      tar(
        MANIFEST,
        { name: "bin/", type: "5", mode: 0o777 },
        { name: "bin/run", content: "#!/bin/sh\n", mode: 0o4755 },
        { name: "./a/b/c/שם.bin", content: Buffer.from([0, 255, 10, 0]), mode: 0o666 },
        { name: "empty" },
      ),
    );
    expect((await stat(join(files, "bin", "run"))).mode & 0o7777).toBe(0o755);
    expect((await stat(join(files, "a/b/c/שם.bin"))).mode & 0o7777).toBe(0o644);
    expect((await stat(join(files, "empty"))).uid).toBe(process.getuid?.());
    expect([...(await readFile(join(files, "a/b/c/שם.bin")))]).toEqual([0, 255, 10, 0]);
  });

  test("a second time leaves the first one in place, with what a runtime put beside it", async () => {
    const folder = await aBundle();
    const first = await bundles.receive(packFolder(folder));
    await mkdir(join(first.root, "node_modules"));
    expect(await bundles.receive(packFolder(folder))).toEqual(first);
    expect(await readdir(first.root)).toEqual(["files", "node_modules"]);
    expect(await readdir(root)).toEqual([first.hash]);
  });

  test("several times at once succeeds each time, as do others beside it", async () => {
    const same = await aBundle();
    const others = await Promise.all(["1", "2", "3"].map((output) => aBundle(output)));
    const stored = await Promise.all(
      [same, same, ...others, same].map((folder) => bundles.receive(packFolder(folder))),
    );
    expect(new Set(stored.map(({ hash }) => hash)).size).toBe(4);
    expect((await readdir(root)).toSorted()).toEqual(await bundles.hashes());
  });

  test("in single bytes, or all at once, is the same", async () => {
    const bytes = tar(MANIFEST, { name: "a", content: "x".repeat(700) });
    const whole = await receive(bytes);
    const single = await receive(...Array.from(bytes, (byte) => Buffer.from([byte])));
    expect(single.hash).toBe(whole.hash);
  });

  test("is held back while the disk writes, with the memory of a few chunks", async () => {
    const size = 200 * 2 ** 20;
    bundles = new BundleStore(root, { maxBytes: size * 2, maxEntries: 10 });
    const chunk = Buffer.alloc(2 ** 20, 7);
    let peak = 0;
    function* bytes(): Generator<Buffer> {
      yield tarEntry(MANIFEST);
      yield tarEntry({ name: "weights.bin", size });
      for (let sent = 0; sent < size; sent += chunk.length) {
        peak = Math.max(peak, process.memoryUsage().arrayBuffers);
        yield Buffer.from(chunk);
      }
      yield TAR_END;
    }
    const before = process.memoryUsage().arrayBuffers;
    const { files } = await bundles.receive(Readable.from(bytes(), { objectMode: false }));
    expect((await stat(join(files, "weights.bin"))).size).toBe(size);
    expect(peak - before).toBeLessThan(size / 2);
  });
});

describe("an upload is refused, and nothing is left of it,", () => {
  test.each<[string, TarEntry]>(
    [
      ["for a path that climbs out", { name: "../evil", content: "x" }],
      ["for a path that climbs out in the middle", { name: "a/../../evil", content: "x" }],
      ["for a path that goes up and stays inside", { name: "a/../b", content: "x" }],
      ["for an absolute path", { name: "/etc/cron.d/evil", content: "x" }],
      ["for a folder outside", { name: "../evil/", type: "5" }],
      ["for a backslash", { name: "a\\b", content: "x" }],
    ].slice(0, 6) as [string, TarEntry][],
  )("%s", async (_, entry) => {
    const error = await refusal(receive(tar(MANIFEST, entry)));
    expect(error).toBeInstanceOf(InvalidBundleError);
    expect(error.message).toMatch(/names must be relative, inside the bundle/u);
    expect(await readdir(join(root, ".."))).toEqual(["bundles"]);
  });

  test.each<[string, TarEntry, RegExp]>([
    ["a hard link", { name: "a", type: "1", linkname: "/etc/passwd" }, /"a" of type link/u],
    ["a symbolic link", { name: "a", type: "2", linkname: MANIFEST_FILE }, /"a" of type symlink/u],
    ["a character device", { name: "a", type: "3" }, /of type character-device/u],
    ["a block device", { name: "a", type: "4" }, /of type block-device/u],
    ["a pipe", { name: "a", type: "6" }, /of type fifo/u],
    ["a sparse file", { name: "a", type: "S" }, /of type unknown/u],
  ])("for %s", async (_, entry, message) => {
    const error = await refusal(receive(tar(entry, MANIFEST)));
    expect(error).toBeInstanceOf(InvalidBundleError);
    expect(error.message).toMatch(message);
  });

  test.each<[string, Readonly<Record<string, string>>]>([
    ["a NUL in a long name", { path: "a\0b" }],
    ["a long name that climbs out", { path: `${"a/".repeat(40)}${"../".repeat(41)}evil` }],
    ["a name that is too deep", { path: "a/".repeat(100) + "b" }],
    ["a part of a name that is too long for a file", { path: "x".repeat(300) }],
    ["a name that is too long altogether", { path: "x".repeat(2000) }],
  ])("for %s", async (_, fields) => {
    const entry = tarEntry({ name: "short", content: "x" });
    const error = await refusal(receive(tarEntry(MANIFEST), pax(fields), entry, TAR_END));
    expect(error).toBeInstanceOf(InvalidBundleError);
    expect(error.message.length).toBeLessThan(400);
  });

  test("for a file that is there twice, or is also a folder", async () => {
    for (const entries of [
      [MANIFEST, MANIFEST],
      [MANIFEST, { name: "a", content: "x" }, { name: "a/b", content: "x" }],
      [MANIFEST, { name: "a/b", content: "x" }, { name: "a", content: "x" }],
      [MANIFEST, { name: "a", content: "x" }, { name: "a/", type: "5" }],
    ]) {
      const error = await refusal(receive(tar(...entries)));
      expect(error).toBeInstanceOf(InvalidBundleError);
      expect(error.message).toMatch(/there twice, or a file and a folder share a name/u);
    }
  });

  test("for too many bytes, at the header that says so", async () => {
    const claims = [2_000_000, 2 ** 40, 2 ** 60].map((size) => tarEntry({ name: "big", size }));
    for (const claim of claims) {
      const error = await refusal(receive(tarEntry(MANIFEST), claim));
      expect(error).toBeInstanceOf(BodyTooLargeError);
      expect(error.message).toMatch(
        /over the limit of 1000000 bytes; start the server with a larger maxBundleBytes/u,
      );
    }
    const content = Buffer.alloc(LIMITS.maxBytes / 5);
    const many = ["a", "b", "c", "d", "e"].map((name) => ({ name, content }));
    expect(await refusal(receive(tar(MANIFEST, ...many)))).toBeInstanceOf(BodyTooLargeError);
  });

  test("for sizes that are no sizes", async () => {
    for (const size of ["-1", "NaN", "9".repeat(400)]) {
      const parts = [tarEntry(MANIFEST), pax({ size }), tarEntry({ name: "a", content: "x" }), TAR_END];
      const error = await refusal(receive(...parts));
      expect([InvalidBundleError, BodyTooLargeError]).toContain(error.constructor);
    }
  });

  test("for headers or padding without end", async () => {
    for (const block of [pax({ comment: "x".repeat(60_000) }), Buffer.alloc(65_536)]) {
      const error = await refusal(
        bundles.receive(Readable.from(repeated(block, 1000), { objectMode: false })),
      );
      expect(error).toBeInstanceOf(BodyTooLargeError);
    }
  });

  test("for too many entries", async () => {
    const entries = Array.from({ length: 50 }, (_, index) => ({ name: `f${index}`, content: "" }));
    const error = await refusal(receive(tar(MANIFEST, ...entries)));
    expect(error).toBeInstanceOf(InvalidBundleError);
    expect(error.message).toMatch(/more than 50 files and folders/u);
  });

  test("when it was cut anywhere, also between entries", async () => {
    const bytes = tar(
      MANIFEST,
      { name: "weights", content: Buffer.alloc(3000) },
      { name: "z", content: Buffer.alloc(2048) },
    );
    for (let end = 0; end < bytes.length; end += 256) {
      const error = await refusal(receive(bytes.subarray(0, end)));
      expect(error).toBeInstanceOf(InvalidBundleError);
      expect(error.message).toMatch(/send it again|not an intact tar/u);
    }
  });

  test("when it is no tar", async () => {
    for (const bytes of [Buffer.from("hello"), Buffer.alloc(5000, "not a tar "), Buffer.alloc(0)]) {
      expect(await refusal(receive(bytes))).toBeInstanceOf(InvalidBundleError);
    }
    const gzipped = Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.alloc(2000, 1)]);
    expect((await refusal(receive(gzipped))).message).toMatch(
      /not an intact tar: .*send an uncompressed tar/u,
    );
  });

  test("without a manifest, or with a wrong one", async () => {
    expect((await refusal(receive(tar({ name: "a", content: "x" })))).message).toMatch(
      /has no manifest\.json/u,
    );
    expect((await refusal(receive(TAR_END))).message).toMatch(/has no manifest\.json/u);
    const wrong = await refusal(receive(tar({ name: MANIFEST_FILE, content: '{"format":1}' })));
    expect(wrong).toBeInstanceOf(InvalidBundleError);
    expect(wrong.message).toMatch(/deployer: expected string, got nothing/u);
  });

  test("when its stream fails, or was destroyed before", async () => {
    const stream = new PassThrough();
    stream.write(tarEntry(MANIFEST));
    stream.write(tarEntry({ name: "weights", size: 900_000 }));
    stream.write(Buffer.alloc(100_000));
    const receiving = refusal(bundles.receive(stream));
    await once(stream, "drain");
    stream.destroy(new Error("socket hang up"));
    const error = await receiving;
    expect(error).toBeInstanceOf(InvalidBundleError);
    expect(error.message).toMatch(/broke off after \d+ bytes: socket hang up; send it again/u);

    const destroyed = new PassThrough();
    destroyed.destroy();
    expect((await refusal(bundles.receive(destroyed))).message).toMatch(/broke off/u);
    const failed = new PassThrough();
    failed.destroy(new BodyTooLargeError("as the caller says"));
    expect(await refusal(bundles.receive(failed))).toBeInstanceOf(BodyTooLargeError);
  });

  test("while the sender stalls, without waiting for him", async () => {
    const stream = new PassThrough();
    stream.write(tarEntry({ name: "../evil", size: 100_000 }));
    expect(await refusal(bundles.receive(stream))).toBeInstanceOf(InvalidBundleError);
    stream.destroy();
  });
});

/** A server that answers with what became of the upload. */
async function serve(
  onRequest?: (incoming: IncomingMessage, outcome: Promise<string>) => void,
): Promise<number> {
  const server = createServer((incoming, reply) => {
    const outcome = bundles.receive(incoming).then(
      ({ hash }) => hash,
      (error: unknown) => (error as Error).message,
    );
    onRequest?.(incoming, outcome);
    void outcome.then((text) => reply.end(text));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

describe("over HTTP", () => {
  test("a refused upload still gets its answer while the rest is being sent", async () => {
    const port = await serve();
    const upload = request({ port, host: "127.0.0.1", method: "POST" });
    upload.on("error", () => undefined);
    const answered = once(upload, "response");
    upload.write(tarEntry({ name: "../evil", size: 50_000_000 }));
    for (let sent = 0; sent < 20; sent++) upload.write(Buffer.alloc(1_000_000));
    upload.end();
    const [response] = (await answered) as [IncomingMessage];
    expect(String(Buffer.concat(await response.toArray()))).toMatch(/names must be relative/u);
    expect(await readdir(root)).toEqual([]);
  });

  test("a caller who goes away in the middle leaves nothing", async () => {
    const { promise: received, resolve } = Promise.withResolvers<{ outcome: Promise<string> }>();
    const port = await serve((incoming, outcome) => {
      incoming.once("resume", () => resolve({ outcome }));
    });
    const upload = request({ port, host: "127.0.0.1", method: "POST" });
    upload.on("error", () => undefined);
    upload.write(tarEntry(MANIFEST));
    upload.write(tarEntry({ name: "weights", size: 500_000 }));
    const { outcome } = await received;
    upload.destroy();
    expect(await outcome).toMatch(/broke off/u);
    expect(await readdir(root)).toEqual([]);
  });
});

describe("a disk without room", () => {
  test.skipIf(whyNoMount !== undefined)(`is said, and cleaned up (${whyNoMount ?? "tmpfs"})`, async () => {
    const disk = await mountSmallDisk({ size: "512k" });
    onTestFinished(() => disk.unmount());
    const small = new BundleStore(join(disk.path, "bundles"), LIMITS);
    await small.open();
    const bytes = tar(MANIFEST, { name: "weights", content: Buffer.alloc(900_000, 1) });
    const error: unknown = await small.receive(Readable.from([bytes])).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(DiskFullError);
    expect(String(error)).toMatch(/no space left on the disk of .*; free some and try again/u);
    expect(await readdir(join(disk.path, "bundles"))).toEqual([]);
    await small.receive(packFolder(await aBundle()));
  });

  test("a file in the place of the folder is said", async () => {
    const file = join(root, "file");
    await writeFile(file, "");
    await expect(new BundleStore(file, LIMITS).open()).rejects.toThrow(StateDirError);
    await expect(new BundleStore(file, LIMITS).receive(Readable.from([TAR_END]))).rejects.toThrow(
      StateDirError,
    );
  });
});

describe("stored bundles", () => {
  test("that are not there are undefined, or an error that says what to do", async () => {
    const hash = "f".repeat(64);
    expect(await bundles.find(hash)).toBeUndefined();
    await expect(bundles.get(hash)).rejects.toThrow(BundleNotFoundError);
    await expect(bundles.get(hash)).rejects.toThrow(/upload it first/u);
    await bundles.remove(hash);
  });

  test("cannot be named by a path", async () => {
    const { hash } = await bundles.receive(packFolder(await aBundle()));
    for (const name of [`../bundles/${hash}`, `${hash}/files`, hash.toUpperCase(), "..", "", `${hash}\n`]) {
      expect(await bundles.find(name)).toBeUndefined();
      await bundles.remove(name);
    }
    expect(await bundles.hashes()).toEqual([hash]);
  });

  test("go with all that is beside them, however often", async () => {
    const { hash, root: folder } = await bundles.receive(packFolder(await aBundle()));
    await mkdir(join(folder, "node_modules", "x"), { recursive: true });
    await Promise.all([bundles.remove(hash), bundles.remove(hash)]);
    expect(await readdir(root)).toEqual([]);
    expect(await bundles.find(hash)).toBeUndefined();
  });
});

test("opening removes temporaries, and keeps bundles and files of others", async () => {
  const { hash } = await bundles.receive(packFolder(await aBundle()));
  await mkdir(join(root, "tmp-1", "files"), { recursive: true });
  await writeFile(join(root, "tmp-1", "files", "a"), "");
  await writeFile(join(root, "notes.txt"), "");
  await bundles.open();
  expect((await readdir(root)).toSorted()).toEqual([hash, "notes.txt"].toSorted());
  expect((await stat(root)).mode & 0o777).toBe(0o700);
});

test("every listed bundle is whole over 20 kills, and nothing else is left", async () => {
  for (let round = 0; round < 20; round++) {
    const child = spawn(process.execPath, [RECEIVE_PROGRAM, root], { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    const killAfter = 1 + Math.floor(Math.random() * 60);
    const stored = new Set<string>();
    let lines = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      if (/^[0-9a-f]{64}$/u.test(line)) stored.add(line);
      if (line.startsWith("removed ")) stored.delete(line.slice(8));
      if (++lines === killAfter) child.kill("SIGKILL");
    }

    await bundles.open();
    const hashes = await bundles.hashes();
    expect((await readdir(root)).toSorted()).toEqual(hashes);
    // The last one may be between its removal and the line that says so.
    expect([...stored].slice(0, -1).filter((hash) => !hashes.includes(hash))).toEqual([]);
    for (const hash of hashes) {
      const { files } = await bundles.get(hash);
      expect(await hashFolder(files)).toBe(hash);
      await bundles.remove(hash);
    }
  }
});
