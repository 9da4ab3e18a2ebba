// Runs an example by its name: `npm run example -- read-text`; without a name it lists them. An example is a folder with
// a main.ts or a main.sh, what stands behind the name goes there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const [name, ...args] = process.argv.slice(2);
const command = name === undefined ? undefined : commandOf(name);
if (command === undefined) {
  if (name !== undefined) console.error(`There is no example "${name}".\n`);
  console.log(`npm run example -- NAME\n\n${await list()}`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  const child = spawn(command[0], [command[1], ...args], { stdio: "inherit" });
  // Ctrl-C reaches both; the example ends by itself and says how.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, "exit")) as [number | null];
  process.exitCode = code ?? 1;
}

function commandOf(example: string): readonly [string, string] | undefined {
  if (!/^[a-z0-9-]+$/.test(example)) return undefined;
  const script = `${folder}${example}/main`;
  if (existsSync(`${script}.ts`)) return [process.execPath, `${script}.ts`];
  return existsSync(`${script}.sh`) ? ["bash", `${script}.sh`] : undefined;
}

async function list(): Promise<string> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.map((entry) => entry.name).filter((entry) => commandOf(entry) !== undefined);
  const lines = await Promise.all(
    names.toSorted().map(async (example) => {
      const [title = ""] = (await readFile(`${folder}${example}/README.md`, "utf8")).split("\n");
      return `  ${example.padEnd(18)} ${title.replace(/^#\s*/, "")}`;
    }),
  );
  return lines.join("\n");
}
