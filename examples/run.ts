// Runs an example by its name: `npm run example -- read-text`; without a name it lists them. An example is a folder with
// a main.ts or a main.sh; what stands behind the name goes there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const [name, ...args] = process.argv.slice(2);
const command = name === undefined ? undefined : commandOf(name);
if (command === undefined) {
  if (name !== undefined) console.error(`There is no example "${name}".\n`);
  console.log(`npm run example -- NAME\n\n${await list()}`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  const [program, ...script] = command;
  const child = spawn(program, [...script, ...args], { stdio: "inherit" });
  // Ctrl-C reaches both; the example ends by itself and says how.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, "exit")) as [number | null];
  process.exitCode = code ?? 1;
}

/** Of an example without a main.ts or main.sh of its own the folder around it has a run.ts: `python/keras`. */
function commandOf(example: string): readonly [string, ...string[]] | undefined {
  if (!/^[a-z0-9-]+(?:\/[a-z0-9-]+)?$/.test(example)) return undefined;
  const at = join(folder, example);
  if (existsSync(join(at, "main.ts"))) return [process.execPath, join(at, "main.ts")];
  if (existsSync(join(at, "main.sh"))) return ["bash", join(at, "main.sh")];
  const shared = join(at, "..", "run.ts");
  const isOne = example.includes("/") && existsSync(join(at, "README.md")) && existsSync(shared);
  return isOne ? [process.execPath, shared, at] : undefined;
}

async function list(): Promise<string> {
  const pages = globSync("{*,*/*}/README.md", { cwd: folder }).map((page) => dirname(page));
  const names = pages.filter((example) => commandOf(example) !== undefined);
  const lines = await Promise.all(
    names.toSorted().map(async (example) => {
      const [title = ""] = (await readFile(join(folder, example, "README.md"), "utf8")).split("\n");
      return `  ${example.padEnd(20)} ${title.replace(/^#\s*/, "")}`;
    }),
  );
  return lines.join("\n");
}
