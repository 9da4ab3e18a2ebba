// A newcomer's place: an empty folder with the packed package installed, a server started there, and what pages tell him to type.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const PATIENCE_MS = 170_000;
/** Time that setting one up may take: it installs from a registry, on a machine that may have other work. */
export const SET_UP_MS = 600_000;

export interface Newcomer extends AsyncDisposable {
  /** The folder, which was empty. */
  readonly folder: string;
  /** With WINDJAMMER_URL of the server there. */
  readonly env: NodeJS.ProcessEnv;
  /** Base URL of the query API. */
  readonly queryUrl: string;
  /** Runs `windjammer …` there, and gives what it printed. */
  windjammer(...args: readonly string[]): Promise<string>;
  /** Copies an example to the same path as here. @returns that path, below the folder */
  example(name: string): Promise<string>;
  /** Makes packages be there that a page says to install: those of this repository, or of another folder. */
  install(packages: readonly string[], from?: string): Promise<void>;
  /** Runs a line of a page in one of the folders, and gives what it printed. */
  type(line: string, place?: string): Promise<string>;
}

/** Packs the package, installs it into an empty folder, and starts a server there with these flags. `npm test` has built. */
export async function newcomer(flags: readonly string[] = []): Promise<Newcomer> {
  const folder = await mkdtemp(join(tmpdir(), "wj-newcomer-"));
  const env = ownEnvironment();
  await writeFile(join(folder, "package.json"), '{ "name": "newcomer", "private": true, "type": "module" }');
  // A build here would take dist from under other tests.
  const pack = ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder];
  await run("npm", pack, { cwd: root, env });
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  await run("npm", ["install", "--no-audit", "--no-fund", `./${tarball}`], { cwd: folder, env });
  const program = join(folder, "node_modules/.bin/windjammer");
  const ports = ["--port", "0", "--admin-port", "0", "--state-dir", join(folder, "state")];
  const server = spawn(program, ["start", ...ports, "--log-level", "silent", ...flags], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said = await untilReady(server);
  env["WINDJAMMER_URL"] = /management API +(\S+)/.exec(said)?.[1];
  return {
    folder,
    env,
    queryUrl: /query API +(http:\/\/[^/\s]+)/.exec(said)?.[1] ?? "",
    windjammer: async (...args) =>
      (await run(program, args, { cwd: folder, env, timeout: PATIENCE_MS })).stdout,
    example: async (name) => {
      await cp(join(root, "examples", name), join(folder, "examples", name), { recursive: true });
      return `examples/${name}`;
    },
    install: async (packages, from = root) => {
      for (const name of packages) {
        const link = join(folder, "node_modules", name);
        await mkdir(dirname(link), { recursive: true });
        await symlink(join(from, "node_modules", name), link).catch(() => undefined);
      }
    },
    type: async (line, place = ".") =>
      (await run("bash", ["-c", line], { cwd: join(folder, place), env, timeout: PATIENCE_MS })).stdout,
    [Symbol.asyncDispose]: async () => {
      if (server.exitCode === null && server.signalCode === null) {
        server.kill("SIGTERM");
        await once(server, "exit");
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A line of a page's shell block: packages to install, or a command. */
export type PageLine = { readonly install: readonly string[] } | { readonly command: string };

/** What the last shell block of an example's page says to type. */
export async function pageLines(name: string): Promise<readonly PageLine[]> {
  const page = await readFile(join(root, "examples", name, "README.md"), "utf8");
  const block = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].at(-1)?.[1] ?? "";
  const lines = block
    .replaceAll("\\\n", "")
    .split("\n")
    .map((line) => line.replace(/ +# .*$/, "").trim())
    .filter((line) => line !== "");
  return Promise.all(
    lines.map(async (line) => {
      const [, wanted] = /^npm install (.*)$/.exec(line) ?? [];
      if (wanted === undefined) return { command: line };
      // The shell knows what braces stand for.
      const names = (await run("bash", ["-c", `echo ${wanted}`])).stdout.trim().split(" ");
      return { install: names.map((each) => each.replace(/(?<=.)@[^/]*$/, "")) };
    }),
  );
}

/** Runs the line that a deployment ends with. */
export async function triedOut(said: string): Promise<unknown> {
  const line = /curl .*/.exec(said)?.[0];
  if (line === undefined) throw new Error(`no curl line in ${said}`);
  return JSON.parse((await run("sh", ["-c", line])).stdout);
}

/** A developer's own server is none of a newcomer's. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const { WINDJAMMER_URL: _, WINDJAMMER_TOKEN: __, ...rest } = process.env;
  const path = `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`;
  return { ...rest, PATH: path };
}

/** What it prints until it serves. Its output is read to its end, or what it says last would have nowhere to go. */
function untilReady(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    server.stdout?.on("data", (chunk: Buffer) => {
      said += String(chunk);
      if (said.includes("/health/ready")) resolve(said);
    });
    server.once("exit", (code) => reject(new Error(`windjammer start ended with ${code}: ${said}`)));
  });
}
