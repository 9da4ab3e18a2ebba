// The README's table of commands is what `windjammer --help` says, and the options that it names are those of the commands.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createProgram } from "../../../core/cli/program.ts";

const README = join(import.meta.dirname, "../../../README.md");

test("the README lists every command as its help does, in the same order", async () => {
  const [, section = ""] = (await readFile(README, "utf8")).split(/^## Command line$/m);
  const rows = [...(section.split(/^## /m)[0] ?? "").matchAll(/^\| `windjammer ([^`]+)` \| (.*) \|$/gm)];
  const shown = rows.map(([, usage, description]) => [usage, description]);
  const program = await createProgram(false);
  const commands = program.commands.map((command) => {
    const names = command.registeredArguments.map((argument) => {
      const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
      return argument.required ? `<${name}>` : `[${name}]`;
    });
    return [[command.name(), ...names].join(" "), command.description()];
  });
  expect(shown).toEqual(commands);
});

test("every option that the README names for the command line is one that a command's help lists", async () => {
  const readme = await readFile(README, "utf8");
  const [, section = ""] = readme.split(/^## Command line$/m);
  const lines = [...readme.matchAll(/(?:npx )?windjammer [a-z-]+ [^|\n`]*/g)].map(([line]) => line);
  const named =
    [section.split(/^## /m)[0] ?? "", ...lines].join("\n").match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
  const known = (await createProgram(false)).commands.flatMap(({ options }) =>
    options.map(({ long }) => long),
  );
  expect(named.length).toBeGreaterThan(20);
  // Every command's, and one of `docker run`.
  const others = ["--help", "--label"];
  expect([...new Set(named)].filter((flag) => ![...known, ...others].includes(flag))).toEqual([]);
});
