// Two model servers that know nothing of Windjammer but the Open Inference Protocol, one in Python and one in Go, are
// checked, and deployed as two versions of one model. What one answers is the gate of the other.
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deployContainer, windjammer } from "windjammer";

type Place = readonly [latitude: number, longitude: number];

type Passage = { readonly from: Place; readonly to: Place };

const run = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));
/** What `npx windjammer` runs. */
const cli = join(
  dirname(fileURLToPath(import.meta.resolve("windjammer/package.json"))),
  "dist/core/cli/main.js",
);

/** Passages of the last windjammers. */
const PASSAGES: Readonly<Record<string, Passage>> = {
  "Hamburg – Valparaíso": { from: [53.55, 9.99], to: [-33.05, -71.62] },
  "Port Victoria – Falmouth": { from: [-34.5, 137.48], to: [50.15, -5.07] },
  "Mariehamn – Port Lincoln": { from: [60.1, 19.94], to: [-34.73, 135.86] },
};
const passages = Object.values(PASSAGES);

const work = await mkdtemp(join(tmpdir(), "windjammer-containers-"));
try {
  const python = join(work, "python");
  await run(process.execPath, [cli, "init", "container", python, "--template", "python"]);
  await cp(join(here, "python"), python, { recursive: true });
  const go = join(work, "go");
  await cp(join(here, "go"), go, { recursive: true });
  await run("go", ["build", "-o", "distance", "main.go"], { cwd: go });

  await check("python", ["python3", "server.py"], python);
  await check("go", ["./distance"], go);

  await using wj = await windjammer({ port: 0, adminPort: 0 });
  const model = { name: "distance", tolerance: 1e-12 };
  const inPython = await deployContainer<Passage, number>(wj, {
    ...model,
    version: "python",
    command: ["python3", "server.py"],
    folder: python,
  });
  const expected = await inPython.predictBatch(passages);
  console.log(`\nversion python serves ${inPython.url}`);

  const distance = await deployContainer<Passage, number>(wj, {
    ...model,
    version: "go",
    command: ["./distance"],
    folder: go,
    examples: passages.map((input, index) => ({ input, output: expected[index] ?? 0 })),
  });
  console.log(`version go serves it now: it gives the same answers, to 12 digits\n`);

  for (const [index, miles] of (await distance.predictBatch(passages)).entries()) {
    console.log(
      `  ${(Object.keys(PASSAGES)[index] ?? "").padEnd(26)}${miles.toFixed(1).padStart(8)} nautical miles`,
    );
  }
} finally {
  await rm(work, { recursive: true, force: true });
}

/** Tries a server as Windjammer will use it. @throws Error with what is wrong */
async function check(name: string, command: readonly string[], folder: string): Promise<void> {
  const { stdout } = await run(process.execPath, [cli, "check-container", command.join(" ")], {
    cwd: folder,
  });
  console.log(`${name.padEnd(8)} ${stdout.trimEnd().split("\n").at(-1)}`);
}
