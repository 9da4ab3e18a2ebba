// The command line and a disk without room: what fails says which disk is full, nothing is lost, and the server goes on.
import { writeFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { connect } from "windjammer";
import { cli, type CliResult, type CliRun, startCli } from "../../helpers/cli.ts";
import { tempFolder } from "../../helpers/temp.ts";
import { mountSmallDisk, whyNoMount } from "../small-disk.ts";

// Each step is a process that starts, and the machine may have others to run.
vi.setConfig({ testTimeout: 240_000 });

interface Disk {
  readonly path: string;
  /** Leaves no byte of it. */
  fill(): Promise<void>;
  free(): Promise<void>;
}

async function smallDisk(): Promise<Disk> {
  const disk = await mountSmallDisk({ size: "1m" });
  onTestFinished(() => disk.unmount());
  const ballast = join(disk.path, "ballast");
  return {
    path: disk.path,
    fill: async () => {
      await expect(writeFile(ballast, Buffer.alloc(2 ** 21))).rejects.toThrow(/ENOSPC/);
    },
    free: () => rm(ballast),
  };
}

interface Server {
  readonly run: CliRun;
  readonly env: Readonly<Record<string, string>>;
}

async function started(stateDir: string): Promise<Server> {
  // Packages and compiled code belong elsewhere: it is the state whose disk is full.
  const folders = ["--state-dir", stateDir, "--cache-dir", await tempFolder()];
  const run = startCli(["start", "--port", "0", "--admin-port", "0", "--log-level", "silent", ...folders]);
  await expect.poll(() => run.stdout() + run.stderr()).toContain("/health/ready");
  return { run, env: { WINDJAMMER_URL: /management API +(http:\S+)/.exec(run.stdout())?.[1] ?? "" } };
}

async function stopped({ run }: Server): Promise<void> {
  run.child.kill("SIGTERM");
  expect(await run.exited).toBe(0);
}

/** The versions that there are, and what the application answers. */
async function standing({ env }: Server): Promise<unknown> {
  await using wj = await connect(env["WINDJAMMER_URL"] ?? "");
  const application = await wj.application("answer");
  const versions = (await wj.versions("answer")).map(({ version }) => version);
  return { versions, answer: await application.predict({}) };
}

describe(`a full disk of the state folder (${whyNoMount ?? "tmpfs"})`, () => {
  test.skipIf(whyNoMount !== undefined)(
    "fails what would write, with its code, and costs nothing that was there",
    async () => {
      const disk = await smallDisk();
      const cwd = await tempFolder();
      const stateDir = join(disk.path, "state");
      const write = (value: number): Promise<void> =>
        writeFile(
          join(cwd, "answer.ts"),
          `export const predict = (rows: unknown[]) => rows.map(() => ${value});\n`,
        );
      const server = await started(stateDir);
      const run = (...args: readonly string[]): Promise<CliResult> => cli(args, { env: server.env, cwd });
      await write(1);
      expect((await run("deploy", "answer.ts")).code).toBe(0);
      await write(2);
      await disk.fill();
      const full = { code: 1, stdout: "", stderr: expect.stringContaining("windjammer: DISK_FULL: ") };
      const deployed = await run("deploy", "answer.ts");
      expect(deployed).toEqual(full);
      // The server's disk, and not that of the one who deploys.
      expect(deployed.stderr).toContain(`DISK_FULL: no space left on the disk of ${stateDir}`);
      expect(deployed.stderr).not.toContain("where the bundle is made");
      expect(await run("scale", "answer", "2")).toEqual(full);
      expect(await run("unlink", "answer")).toEqual(full);
      const json = await run("deploy", "answer.ts", "--json");
      expect([json.code, JSON.parse(json.stderr)]).toEqual([
        1,
        expect.objectContaining({ error: "DISK_FULL" }),
      ]);
      expect(await standing(server)).toEqual({ versions: ["1"], answer: 1 });
      await disk.free();
      expect((await run("deploy", "answer.ts")).code).toBe(0);
      expect(await standing(server)).toEqual({ versions: ["2", "1"], answer: 2 });

      await disk.fill();
      server.run.child.kill("SIGKILL");
      await server.run.exited;
      const again = await started(stateDir);
      await expect.poll(() => standing(again).catch(String)).toEqual({ versions: ["2", "1"], answer: 2 });
      await stopped(again);
    },
  );

  test.skipIf(whyNoMount !== undefined)(
    "keeps a first start from beginning, in one line, until there is room",
    async () => {
      const disk = await smallDisk();
      const stateDir = join(disk.path, "state");
      await disk.fill();
      const args = ["start", "--port", "0", "--admin-port", "0", "--state-dir", stateDir];
      expect(await cli(args)).toEqual({
        code: 1,
        stdout: "",
        stderr: `windjammer: DISK_FULL: no space left on the disk of ${stateDir}; free some and try again\n`,
      });
      await disk.free();
      await stopped(await started(stateDir));
    },
  );
});

test.skipIf(whyNoMount !== undefined)(
  `a full disk of the one who deploys is said to be that one (${whyNoMount ?? "tmpfs"})`,
  async () => {
    const disk = await smallDisk();
    const cwd = await tempFolder();
    const server = await started(join(cwd, "state"));
    await writeFile(join(cwd, "answer.ts"), "export const predict = (rows: unknown[]) => rows;\n");
    await disk.fill();
    const { code, stderr } = await cli(["deploy", "answer.ts"], {
      cwd,
      env: { ...server.env, TMPDIR: disk.path },
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /DISK_FULL: no space left on this machine, where the bundle is made \(\S+\): .*TMPDIR/,
    );
    await stopped(server);
  },
);
