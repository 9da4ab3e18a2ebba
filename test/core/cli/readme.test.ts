// The README's table of commands is what `windjammer --help` says.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createProgram } from "../../../core/cli/program.ts";

const README = join(import.meta.dirname, "../../../README.md");

test("the README lists every command as its help does, in the same order", async () => {
  const [, section = ""] = (await readFile(README, "utf8")).split(/^## Command line$/m);
  const rows = [...(section.split(/^## /m)[0] ?? "").matchAll(/^\| `windjammer ([^`]+)` \| (.*) \|$/gm)];
  const shown = rows.map(([, usage, description]) => [usage, description]);
  const program = createProgram(false);
  const commands = program.commands.map((command) => {
    const names = command.registeredArguments.map((argument) => {
      const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
      return argument.required ? `<${name}>` : `[${name}]`;
    });
    return [[command.name(), ...names].join(" "), command.description()];
  });
  expect(shown).toEqual(commands);
});
