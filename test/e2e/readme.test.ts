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
const readme = await readFile(join(root, "README.md"), "utf8");
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
    expect(await reply.json()).toMatchObject({
      default: false,
      output: expect.arrayContaining([expect.any(Number)]),
    });
  } finally {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
});

const scripts = blocks.filter(({ language }) => language === "ts");
it.each(scripts.map((block) => [block.line, block] as const))(
  "the script at line %i runs",
  async (_line, block) => {
    // Beside the README, so that its relative paths and the package's own name resolve.
    const file = join(root, `.readme-${block.line}.ts`);
    await writeFile(file, block.text);
    try {
      const { stdout } = await run("node", [file], { cwd: root, env, timeout: 60_000 });
      const expected = [...block.text.matchAll(/\/\/ prints (.*)$/gm)].map((match) => match[1]);
      for (const line of expected) expect(stdout).toContain(line);
    } finally {
      await rm(file);
    }
  },
);

it("the shell session works line by line", async () => {
  const session = blocks.filter(({ language }) => language === "sh").map(({ text }) => text);
  expect(session.length).toBeGreaterThan(0);
  const stateDir = await mkdtemp(join(tmpdir(), "wj-readme-"));
  const server = spawn("npx", ["windjammer", "start", "--state-dir", stateDir], {
    cwd: root,
    env,
    detached: true,
  });
  try {
    for await (const chunk of server.stdout) if (String(chunk).includes("is up")) break;
    for (const text of session) {
      const script = text
        .split("\n")
        .filter((line) => !line.startsWith("npx windjammer start"))
        .join("\n");
      const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], {
        cwd: root,
        env,
        timeout: 60_000,
      });
      const expected = [...text.matchAll(/# prints (.*)$/gm)].map((match) => match[1]);
      for (const line of expected) expect(stdout).toContain(line);
    }
  } finally {
    if (server.pid !== undefined) process.kill(-server.pid, "SIGTERM");
    if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
    await rm(stateDir, { recursive: true, force: true });
  }
});
