// The part of a project's lockfile that a bundle gets: only what its packages need, in the project's versions.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lockPackages } from "../../deployers/lockfile.ts";
import { tempFolder } from "../helpers/temp.ts";

type Entry = Readonly<Record<string, unknown>>;
const entry = (version: string, more: Entry = {}): Entry => ({
  version,
  integrity: `sha512-${version}`,
  ...more,
});

async function project(packages: Readonly<Record<string, Entry>>, lockfileVersion = 3): Promise<string> {
  const folder = await tempFolder();
  await mkdir(join(folder, "packages/app"), { recursive: true });
  await writeFile(join(folder, "package-lock.json"), JSON.stringify({ lockfileVersion, packages }));
  return folder;
}

async function locked(
  packages: Readonly<Record<string, string>>,
  folder: string,
): Promise<{
  readonly entries: Readonly<Record<string, Entry>> | undefined;
  readonly notes: readonly string[];
}> {
  const { text, notes } = await lockPackages({ packages, importerOf: () => folder });
  if (text === undefined) return { entries: undefined, notes };
  const { "": root, ...entries } = (JSON.parse(text) as { packages: Record<string, Entry> }).packages;
  expect(root).toEqual({ name: "model-packages", dependencies: packages });
  return { entries, notes };
}

describe("the lockfile of a bundle", () => {
  it("has what the packages need, with needed peers, and nothing else of the project", async () => {
    const folder = await project({
      "": { dependencies: { a: "1" } },
      "node_modules/a": entry("1.0.0", {
        dev: true,
        dependencies: { b: "^1" },
        peerDependencies: { c: "*", d: "*" },
        peerDependenciesMeta: { d: { optional: true } },
        optionalDependencies: { e: "1", "not-for-us": "1" },
      }),
      "node_modules/a/node_modules/b": entry("1.5.0"),
      "node_modules/b": entry("2.0.0"),
      "node_modules/c": entry("3.0.0", { peer: true }),
      "node_modules/d": entry("4.0.0"),
      "node_modules/e": entry("5.0.0", { dependencies: { b: "^2" } }),
      "node_modules/vitest": entry("9.0.0", { dev: true }),
    });
    const { entries, notes } = await locked({ a: "1.0.0" }, folder);
    expect(notes).toEqual([]);
    expect(
      Object.entries(entries ?? {}).map(([place, { version, optional }]) => [place, version, optional]),
    ).toEqual([
      ["node_modules/a", "1.0.0", undefined],
      ["node_modules/a/node_modules/b", "1.5.0", undefined],
      ["node_modules/b", "2.0.0", true],
      ["node_modules/c", "3.0.0", undefined],
      ["node_modules/e", "5.0.0", true],
    ]);
    expect(entries?.["node_modules/a"]).not.toHaveProperty("dev");
  });

  it("names no registry: the address of an ordinary file is left out, that of another one is kept", async () => {
    const folder = await project({
      "node_modules/@me/a": entry("1.0.0", { resolved: "https://packages.example/@me/a/-/a-1.0.0.tgz" }),
      "node_modules/g": entry("1.0.0", { resolved: "git+ssh://git@example.com/g.git#abc" }),
    });
    const { entries } = await locked({ "@me/a": "1.0.0", g: "1.0.0" }, folder);
    expect(entries?.["node_modules/@me/a"]).toEqual(entry("1.0.0"));
    expect(entries?.["node_modules/g"]).toHaveProperty("resolved", "git+ssh://git@example.com/g.git#abc");
  });

  it("has the packages of a workspace under one folder, its own version before that of the project", async () => {
    const folder = await project({
      "node_modules/a": entry("1.0.0"),
      "packages/app/node_modules/a": entry("2.0.0", { dependencies: { b: "1" } }),
      "node_modules/b": entry("1.0.0"),
    });
    const { entries } = await locked({ a: "2.0.0" }, join(folder, "packages/app"));
    expect(entries).toHaveProperty(["node_modules/a", "version"], "2.0.0");
    expect(Object.keys(entries ?? {})).toEqual(["node_modules/a", "node_modules/b"]);
  });

  it.each([
    [
      "another version than the bundle",
      { "node_modules/a": entry("1.0.1") },
      /has a 1\.0\.1, the bundle 1\.0\.0/,
    ],
    ["no such package", {}, /has a nowhere/],
    ["a missing dependency", { "node_modules/a": entry("1.0.0", { dependencies: { b: "1" } }) }, /lacks b/],
    [
      "a dependency that is a link",
      { "node_modules/a": entry("1.0.0", { dependencies: { b: "1" } }), "node_modules/b": { link: true } },
      /b, which node_modules\/a needs, is a link/,
    ],
    ["a package of a file", { "node_modules/a": entry("1.0.0", { resolved: "file:../a.tgz" }) }, /only here/],
  ])("is left out with a note where the project's has %s", async (_, packages, reason) => {
    const { entries, notes } = await locked({ a: "1.0.0" }, await project(packages));
    expect(entries).toBeUndefined();
    expect(notes).toEqual([expect.stringMatching(reason)]);
  });

  it("is left out with a note beside a lockfile of another tool or of an old npm, without one where there is none", async () => {
    const old = await project({ "node_modules/a": entry("1.0.0") }, 1);
    expect((await locked({ a: "1.0.0" }, old)).notes).toEqual([
      expect.stringContaining("not of version 2 or 3"),
    ]);
    const other = await tempFolder();
    expect(await locked({ a: "1.0.0" }, other)).toEqual({ entries: undefined, notes: [] });
    await writeFile(join(other, "pnpm-lock.yaml"), "");
    const { notes } = await locked({ a: "1.0.0" }, other);
    expect(notes).toEqual([expect.stringContaining("pnpm-lock.yaml is not read")]);
  });
});
