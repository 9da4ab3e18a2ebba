import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { LAYERS, PACKAGE_OWNERS } from "./layers.ts";

const root = new URL("..", import.meta.url).pathname;
const files = globSync("{core,deployers,containers}/**/*.ts", { cwd: root }).filter(
  (file) => !file.endsWith(".test.ts"),
);
const IMPORT = /(?:import|export)\s[^"';]*?from\s+"([^"]+)"|import\("([^"]+)"\)|^import\s+"([^"]+)"/gm;

function importsOf(file: string): readonly string[] {
  const text = readFileSync(join(root, file), "utf8").replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "");
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

describe("architecture", () => {
  it("sees the source", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap(importsOf).length).toBeGreaterThan(200);
  });

  it("keeps to the layers", () => {
    const offences = files.flatMap((file) => {
      const rule = LAYERS.find(({ from }) => file.startsWith(from));
      if (rule === undefined) return [`${file}: no rule`];
      const allowed = [...rule.may, rule.from.endsWith("/") ? rule.from : file];
      return importsOf(file)
        .filter((specifier) => specifier.startsWith("."))
        .map((specifier) => normalize(join(dirname(file), specifier)))
        .filter((target) => !allowed.some((prefix) => target.startsWith(prefix)))
        .map((target) => `${file} imports ${target}`);
    });
    expect(offences).toEqual([]);
  });

  it("keeps plug-ins from each other", () => {
    // A folder without an entry of its own is shared by those that have one.
    const entries = globSync("{deployers,containers,core/runtimes}/*/{index,loader}.ts", { cwd: root });
    const plugIns = entries.map((entry) => `${dirname(entry)}/`);
    const plugInOf = (file: string): string | undefined => plugIns.find((folder) => file.startsWith(folder));
    const offences = files.flatMap((file) => {
      const own = plugInOf(file);
      if (own === undefined) return [];
      return importsOf(file)
        .filter((specifier) => specifier.startsWith("."))
        .map((specifier) => normalize(join(dirname(file), specifier)))
        .filter((target) => (plugInOf(target) ?? own) !== own)
        .map((target) => `${file} imports ${target}`);
    });
    expect(offences).toEqual([]);
  });

  it("lets a package in only where it belongs", () => {
    const offences = Object.entries(PACKAGE_OWNERS).flatMap(([name, owners]) =>
      files
        .filter((file) =>
          importsOf(file).some((specifier) => specifier === name || specifier.startsWith(`${name}/`)),
        )
        .filter((file) => !owners.some((owner) => file.startsWith(owner)))
        .map((file) => `${file} imports ${name}`),
    );
    expect(offences).toEqual([]);
  });

  it("takes Node's HTTP from where it comes without fetch", () => {
    // Commands end soon, and who asks an engine through ssh has more to load.
    const free = ["containers/node-http.ts", "core/cli/", "core/runtimes/engine-ssh.ts"];
    const offences = files
      .filter((file) => !free.some((one) => file.startsWith(one)))
      .filter((file) => /^import (?!type)[^;]*"node:https?"/m.test(readFileSync(join(root, file), "utf8")));
    expect(offences).toEqual([]);
  });

  it("has a suite in every plug-in folder", () => {
    const folders = globSync("{deployers/*/index.ts,core/runtimes/*/index.ts}", { cwd: root }).map((file) =>
      dirname(file),
    );
    expect(folders.length).toBeGreaterThanOrEqual(3);
    const missing = folders.filter((folder) => globSync(`${folder}/*.test.ts`, { cwd: root }).length === 0);
    expect(missing).toEqual([]);
  });

  it("says in the first line of each file what it owns", () => {
    const silent = files.filter(
      (file) => !/^(?:#!.*\n)?\/\/ \S/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(silent).toEqual([]);
  });
});
