// A package index of Python's kind ("simple") on this machine, with wheels made here, for tests of installing.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { zipOf } from "../helpers/zip.ts";

export interface PythonIndex extends AsyncDisposable {
  readonly url: string;
  /** Paths that were asked for. */
  readonly requests: readonly string[];
  readonly hashes: Readonly<Record<string, string>>;
}

/** Wheels "name-version", each with one module that knows its version, and what it depends on. */
export interface MadePackage {
  readonly name: string;
  readonly version: string;
  readonly requires?: readonly string[];
  /** Bytes of ballast that do not compress. */
  readonly ballast?: number;
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

export function wheelName({ name, version }: MadePackage): string {
  return `${name}-${version}-py3-none-any.whl`;
}

export async function pythonIndex(packages: readonly MadePackage[]): Promise<PythonIndex> {
  const wheels = new Map(packages.map((each) => [wheelName(each), wheelOf(each)]));
  const requests: string[] = [];
  const server = createServer(({ url = "" }, response) => {
    requests.push(url);
    const wheel = wheels.get(decodeURIComponent(url.slice("/files/".length)));
    if (url.startsWith("/files/") && wheel !== undefined) {
      response.end(wheel);
      return;
    }
    const name = /^\/simple\/([^/]+)\/$/.exec(url)?.[1];
    const links = packages
      .filter((each) => each.name === name)
      .map((each) => `<a href="/files/${wheelName(each)}">${wheelName(each)}</a><br>`);
    response.writeHead(links.length === 0 ? 404 : 200, { "content-type": "text/html" });
    response.end(`<!DOCTYPE html><html><body>${links.join("")}</body></html>`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/simple/`,
    requests,
    hashes: Object.fromEntries(
      [...wheels].map(([file, wheel]) => [file, createHash("sha256").update(wheel).digest("hex")]),
    ),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
