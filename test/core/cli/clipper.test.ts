// What the `windjammer` command has for Clipper: the flags of `start`, and the labels.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const MAIN = join(import.meta.dirname, "../../../core/cli/main.ts");
const runFile = promisify(execFile);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-cli-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function windjammer(
  ...args: readonly string[]
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const env = { ...process.env, XDG_STATE_HOME: join(folder, "state") };
  return runFile(process.execPath, [MAIN, ...args], { env });
}

describe("windjammer start --clipper-compat", () => {
  test("says where it speaks Clipper, and does", async () => {
    const free = ["--port=0", "--admin-port=0", "--clipper-admin-port=0", "--clipper-rpc-port=0"];
    const args = ["start", "--clipper-compat", ...free, "--log-level=silent", `--state-dir=${folder}/one`];
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      let text = "";
      for await (const chunk of child.stdout) {
        text += String(chunk);
        if (text.includes("/health/ready")) break;
      }
      expect(text).toMatch(/its containers {2}tcp:\/\/127\.0\.0\.1:\d+/);
      const admin = /Clipper's API {3}(\S+) {2}\(no token\)/.exec(text)?.[1];
      expect(await (await fetch(`${admin}/admin/ping`)).text()).toBe("PONG");
    } finally {
      child.kill("SIGINT");
      await once(child, "exit");
    }
  });

  test.each([
    [["--clipper-rpc-port", "7001"], "go with --clipper-compat"],
    [["--clipper-allow-unauthenticated"], "go with --clipper-compat"],
    [["--clipper-compat", "--clipper-rpc-port", "none"], "expected a port"],
    [["--clipper-compat", "--clipper-host", "0.0.0.0"], "--clipper-allow-unauthenticated"],
  ])("%j is wrong usage", async (args, message) => {
    await expect(windjammer("start", ...args)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining(message),
    });
  });
});

describe("windjammer clipper-labels", () => {
  test("prints the labels of its ports, and makes the file that the library writes to", async () => {
    const { stdout } = await windjammer(
      "clipper-labels",
      "--cluster",
      "mine",
      "--port",
      "80",
      "--rpc-port",
      "70",
    );
    const file = join(folder, "state/windjammer/clipper-metrics.yml");
    expect(stdout.trim().split("\n")).toEqual([
      "--label ai.clipper.container.label=mine",
      "--label ai.clipper.query_frontend.label=",
      "--label ai.clipper.management_frontend.label=",
      "--label ai.clipper.query_frontend.query.port=80",
      "--label ai.clipper.query_frontend.rpc.port=70",
      "--label ai.clipper.management.port=1339",
      "--label ai.clipper.redis.port=0",
      "--label ai.clipper.metric.port=80",
      `--label ai.clipper.metric.config=${file}`,
    ]);
    expect(await readFile(file, "utf8")).toBe("scrape_configs: []\n");
  });

  test("leaves a file that is there as it is", async () => {
    const file = join(folder, "prometheus.yml");
    await writeFile(file, "scrape_configs: [{job_name: x}]\n");
    await windjammer("clipper-labels", "--metric-config", file);
    expect(await readFile(file, "utf8")).toBe("scrape_configs: [{job_name: x}]\n");
  });
});
