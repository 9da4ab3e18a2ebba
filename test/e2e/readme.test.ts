// The README is true: every TypeScript block runs, every command of it works against the server it describes.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
/** Whether a machine keeps an objective is the bench's matter: here each is a minute. */
const readme = (await readFile(join(root, "README.md"), "utf8")).replaceAll(
  /(latencyObjectiveMs: |--latency-objective )\d+/g,
  (_, option: string) => `${option}60000`,
);
const env = {
  ...process.env,
  PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`,
};

interface Block {
  readonly language: string;
  readonly line: number;
  readonly text: string;
}

const blocks: readonly Block[] = [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map((match) => ({
  language: match[1] ?? "",
  line: readme.slice(0, match.index).split("\n").length,
  text: match[2] ?? "",
}));

it("leads to the first prediction by line 25", () => {
  expect(blocks[0]?.line).toBeLessThan(25);
  expect(blocks[0]?.text).toContain("npm run quickstart");
});

it("gives commands that are the package's own", async () => {
  const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map((match) => match[1] ?? "");
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
});

it("quickstart: all 16 digits match, and the curl line it prints works while it stays up", async () => {
  const child = spawn("npm", ["run", "quickstart", "--", "--keep"], { cwd: root, env, detached: true });
  try {
    let output = "";
    for await (const chunk of child.stdout) {
      output += String(chunk);
      if (output.includes("Ctrl-C")) break;
    }
    expect(output).toContain("16 of 16 match");
    expect(output).toMatch(/First prediction \d+\.\d s after the start/);
    const curl = /^curl -s (\S+) -d '(.*)'$/m.exec(output);
    const reply = await fetch(curl?.[1] ?? "", { method: "POST", body: curl?.[2] ?? "" });
    expect(await reply.json()).toMatchObject({ default: false, output: { digit: 1 } });
  } finally {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
});

/** Runs a script from beside the README, so that its relative paths and the package's own name resolve. */
async function runScript(block: Block): Promise<void> {
  const file = join(root, `.readme-${block.line}.ts`);
  await writeFile(file, block.text);
  try {
    const { stdout } = await run("node", [file], { cwd: root, env, timeout: 200_000 });
    expectPrinted(stdout, block.text, /\/\/ prints (.*)$/gm);
  } finally {
    await rm(file);
  }
}

function expectPrinted(output: string, source: string, pattern: RegExp): void {
  for (const [, expected = ""] of source.matchAll(pattern)) expect(output).toContain(expected);
}

const needsServer = ({ language, text }: Block): boolean => language === "sh" || text.includes("connect(");
/** Those of Docker are run by test/docker/readme.test.ts, where there is an engine. */
const needsEngine = ({ text }: Block): boolean => text.includes("windjammer/runtimes/docker");
const scripts = blocks.filter(
  (block) => block.language === "ts" && !needsServer(block) && !needsEngine(block),
);

it.each(scripts.map((block) => [block.line, block] as const))("the script at line %i runs", (_line, block) =>
  runScript(block),
);

it("the session with a server works, block by block", async () => {
  const session = blocks.filter(needsServer);
  expect(session.map(({ language }) => language)).toEqual(["sh", "ts", "sh", "sh", "sh", "sh", "sh", "sh"]);
  await runSession(session);
});

it("the session of a client of Clipper's works, block by block", async () => {
  const session = blocks.filter(({ language }) => language === "bash");
  expect(session).toHaveLength(2);
  await runSession(session);
});

/** The first block starts a server, the others are run against it. */
async function runSession([start, ...rest]: readonly Block[]): Promise<void> {
  const stateDir = await mkdtemp(join(tmpdir(), "wj-readme-"));
  // The installed command; package.test.ts holds it to be this file.
  const installed = (start?.text ?? "").trim().replace("npx windjammer", "node dist/core/cli/main.js");
  const command = `exec ${installed} --state-dir ${stateDir}`;
  const server = spawn("bash", ["-c", command], {
    cwd: root,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    for await (const chunk of server.stdout) if (String(chunk).includes("is up")) break;
    for (const block of rest) {
      if (block.language === "ts") {
        await runScript(block);
        continue;
      }
      const { stdout } = await run("bash", ["-euo", "pipefail", "-c", block.text], {
        cwd: root,
        env,
        timeout: 200_000,
      });
      expectPrinted(stdout, block.text, /# prints (.*)$/gm);
    }
  } finally {
    if (server.exitCode === null && server.signalCode === null) {
      process.kill(-(server.pid ?? 0), "SIGTERM");
      await once(server, "exit");
    }
    await rm(stateDir, { recursive: true, force: true });
  }
}
