// A package index of Python's kind ("simple") on this machine, with packages made here, for tests of installing.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { tar } from "../core/deploy/tar-bytes.ts";
import { zipOf } from "../helpers/zip.ts";

export interface PythonIndex extends AsyncDisposable {
  readonly url: string;
  /** Paths that were asked for. */
  readonly requests: readonly string[];
  readonly hashes: Readonly<Record<string, string>>;
}

/** A package with one module that knows its version, and what it depends on. */
export interface MadePackage {
  readonly name: string;
  readonly version: string;
  readonly requires?: readonly string[];
  /** Bytes of ballast that do not compress. */
  readonly ballast?: number;
  /** Only its source is on the index: building it runs code of its own. */
  readonly isSource?: boolean;
}

/** A wheel with one module. */
export function wheelOf({ name, version, requires = [], ballast = 0 }: MadePackage): Buffer {
  const info = `${name}-${version}.dist-info`;
  const metadata = [
    "Metadata-Version: 2.1",
    `Name: ${name}`,
    `Version: ${version}`,
    ...requires.map((each) => `Requires-Dist: ${each}`),
  ];
  const ballastFile = { name: `${name}.bin`, data: new Uint8Array(ballast), isStored: true };
  return zipOf([
    { name: `${name}.py`, data: `VERSION = ${JSON.stringify(version)}\n` },
    ...(ballast > 0 ? [ballastFile] : []),
    { name: `${info}/METADATA`, data: `${metadata.join("\n")}\n` },
    {
      name: `${info}/WHEEL`,
      data: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    },
    {
      name: `${info}/RECORD`,
      data: [
        `${name}.py,,`,
        ...(ballast > 0 ? [`${name}.bin,,`] : []),
        `${info}/METADATA,,`,
        `${info}/WHEEL,,`,
        `${info}/RECORD,,`,
        "",
      ].join("\n"),
    },
  ]);
}

/** Builds the wheel that `wheelOf` makes, with nothing but Python; the working folder is the unpacked source. */
const BACKEND = `import base64, os, sys

def build_wheel(folder, config_settings=None, metadata_directory=None):
    print("building from source with", sys.executable)
    name = open("wheel-name").read()
    with open(os.path.join(folder, name), "wb") as file:
        file.write(base64.b64decode(open("wheel").read()))
    return name
`;

function sourceOf(made: MadePackage): Buffer {
  const top = `${made.name}-${made.version}`;
  const pyproject = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n';
  const info = `Metadata-Version: 2.1\nName: ${made.name}\nVersion: ${made.version}\n`;
  return gzipSync(
    tar(
      { name: `${top}/PKG-INFO`, content: info },
      { name: `${top}/pyproject.toml`, content: pyproject },
      { name: `${top}/backend.py`, content: BACKEND },
      { name: `${top}/wheel-name`, content: wheelName(made) },
      { name: `${top}/wheel`, content: wheelOf(made).toString("base64") },
    ),
  );
}

function fileOf(made: MadePackage): readonly [name: string, content: Buffer] {
  if (made.isSource !== true) return [wheelName(made), wheelOf(made)];
  return [`${made.name}-${made.version}.tar.gz`, sourceOf(made)];
}

export function wheelName({ name, version }: MadePackage): string {
  return `${name}-${version}-py3-none-any.whl`;
}

export async function pythonIndex(packages: readonly MadePackage[]): Promise<PythonIndex> {
  const files = new Map(packages.map(fileOf));
  const requests: string[] = [];
  const server = createServer(({ url = "" }, response) => {
    requests.push(url);
    const file = files.get(decodeURIComponent(url.slice("/files/".length)));
    if (url.startsWith("/files/") && file !== undefined) {
      response.end(file);
      return;
    }
    const name = /^\/simple\/([^/]+)\/$/.exec(url)?.[1];
    const links = packages
      .filter((each) => each.name === name)
      .map((each) => `<a href="/files/${fileOf(each)[0]}">${fileOf(each)[0]}</a><br>`);
    response.writeHead(links.length === 0 ? 404 : 200, { "content-type": "text/html" });
    response.end(`<!DOCTYPE html><html><body>${links.join("")}</body></html>`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/simple/`,
    requests,
    hashes: Object.fromEntries(
      [...files].map(([name, file]) => [name, createHash("sha256").update(file).digest("hex")]),
    ),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
