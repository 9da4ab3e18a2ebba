// Every example runs with its one command and prints what its README shows.
import { execFile } from "node:child_process";
import { globSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { portVariables } from "../helpers/free-ports.ts";
import { hasProgram } from "../helpers/programs.ts";
import { hasTfjsNode, TFJS_NODE_FOLDER } from "../helpers/tfjs-node.ts";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
const folder = join(root, "examples");
const env = {
  ...process.env,
  PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`,
};
const names = globSync("*/main.{ts,sh}", { cwd: folder })
  .map((file) => dirname(file))
  .toSorted();

/** Programs an example needs beside Node: without them it is skipped, by these names. */
const NEEDS: Readonly<Record<string, readonly (readonly [string, ...string[]])[]>> = {
  clipper: [["curl", "--version"]],
  containers: [
    ["python3", "--version"],
    ["go", "version"],
  ],
};

/** What stands behind the name of an example here. */
const ARGS: Readonly<Record<string, readonly string[]>> = {
  tensorflow: ["--packages-from", TFJS_NODE_FOLDER],
};

/** Examples that need more than a program; why they are skipped, if they are. */
const LACKS: Readonly<Record<string, string | undefined>> = {
  tensorflow: hasTfjsNode ? undefined : "no tfjs-node",
};

interface Page {
  readonly title: string;
  readonly lines: number;
  /** Code blocks by language. */
  readonly blocks: readonly { readonly language: string; readonly text: string }[];
}

function pageOf(name: string): Page {
  const text = readFileSync(join(folder, name, "README.md"), "utf8");
  return {
    title: /^# (.*)$/m.exec(text)?.[1] ?? "",
    lines: text.split("\n").length,
    blocks: [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = "", block = ""]) => ({
      language,
      text: block,
    })),
  };
}

/** What differs from run to run: times, sizes of bundles, ports, ids, blanks at the ends of lines. */
function steady(text: string): string {
  return text
    .replaceAll(/\d+(?:\.\d+)?(?= (?:ms|s after|k?B)\b)/g, "…")
    .replaceAll(/(127\.0\.0\.1|localhost):\d+/g, "$1:…")
    .replaceAll(/"query_id":\d+/g, '"query_id":…')
    .replaceAll(/[ \t]+$/gm, "")
    .trim();
}

/** What a page shows, as a pattern: "…" on a line of its own stands for any lines, at a line's end for any more of it. */
function pattern(shown: string): RegExp {
  const lines = steady(shown)
    .split("\n")
    .map((line) =>
      line === "…" ? "[^]*" : line.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`).replace(/…$/, ".*"),
    );
  return new RegExp(`^${lines.join("\n")}$`);
}

it("are all listed, by their names and titles, when no name is given", async () => {
  const { stdout } = await run("node", ["examples/run.ts"], { cwd: root, env });
  for (const name of names) expect(stdout).toMatch(new RegExp(`^  ${name} +${pageOf(name).title}$`, "m"));
});

it("are told from what is none", async () => {
  const wrong = run("node", ["examples/run.ts", "../core"], { cwd: root, env });
  await expect(wrong).rejects.toMatchObject({ code: 2, stderr: 'There is no example "../core".\n\n' });
});

it("stand in the README's table, each once", () => {
  const [, table = ""] = readFileSync(join(root, "README.md"), "utf8").split("\n## Examples\n");
  const links = [
    ...(table.split("\n## ")[0]?.matchAll(/\[([a-z0-9/-]+)\]\(examples\/([a-z0-9/-]+)\/README\.md\)/g) ?? []),
  ];
  const frameworks = globSync("python/*/README.md", { cwd: folder }).map((page) => dirname(page));
  expect(links.map(([, name, path]) => `${name} ${path}`).toSorted()).toEqual(
    [...names, ...frameworks].toSorted().map((name) => `${name} ${name}`),
  );
});

it.skipIf(!hasProgram("python3", "--version"))(
  "in Python run by the same command (skipped without python3)",
  async () => {
    const { stdout } = await run("node", ["examples/run.ts", "python/function"], { cwd: root, env });
    expect(stdout).toContain("function: 3 of 3 answers equal");
  },
);

it("import the package by its name, and nothing of its source", () => {
  const files = globSync("**/*.ts", { cwd: folder });
  const offences = files.filter((file) =>
    /from "(?:\.\.\/)+(?:core|deployers|containers|test|dist)\//.test(
      readFileSync(join(folder, file), "utf8"),
    ),
  );
  expect(files.length).toBeGreaterThan(names.length);
  expect(offences).toEqual([]);
});

it("have a page each, of a screen", () => {
  const long = names.filter((name) => pageOf(name).lines > 70);
  expect(long).toEqual([]);
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.length).toBeGreaterThanOrEqual(names.length);
});

describe.each(names)("%s", (name) => {
  const programs = (NEEDS[name] ?? []).filter(([program, ...args]) => !hasProgram(program, ...args));
  const missing = [...programs.map(([program]) => `no ${program}`), LACKS[name]].filter(Boolean).join(", ");
  const { blocks } = pageOf(name);

  it("gives its command", () => {
    expect(blocks[0]?.text).toContain(`npm run example -- ${name}`);
  });

  const why = missing === "" ? "" : ` (skipped: ${missing})`;
  it.skipIf(missing !== "")(`prints what its page shows${why}`, async () => {
    const shown = blocks.find(({ language }) => language === "text")?.text ?? "";
    expect(shown).not.toBe("");
    const ports = name === "clipper" ? await portVariables(["QUERY", "ADMIN", "RPC", "OWN_ADMIN"]) : {};
    const { stdout, stderr } = await run("node", ["examples/run.ts", name, ...(ARGS[name] ?? [])], {
      cwd: root,
      env: { ...env, ...ports },
    });
    expect(steady(stdout)).toMatch(pattern(shown));
    expect(stderr).toBe("");
  });
});
