// `windjammer doctor` and `windjammer completion`: what a newcomer and his shell are told.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { deployFunction, windjammer } from "windjammer";
import { cli, cliJson } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";
import { tempFolder } from "../../helpers/temp.ts";

const MAIN = join(import.meta.dirname, "../../../core/cli/main.ts");
const server = commandServer(async (wj) => {
  await deployFunction(wj, {
    name: "tides",
    version: "2026",
    application: "harbour",
    inputType: "doubles",
    fn: (inputs) => inputs,
  });
});

function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, name)));
}

interface Diagnosis {
  readonly isWell: boolean;
  readonly findings: readonly {
    readonly name: string;
    readonly outcome: string;
    readonly found: string;
    readonly fix?: string;
    readonly isNeeded: boolean;
  }[];
}

/** Ports at which nothing listens, mostly: port 0 is always free. */
const FREE = ["--port", "0", "--admin-port", "0"];

async function folders(): Promise<string[]> {
  const folder = await tempFolder();
  return ["--state-dir", join(folder, "state", "new"), "--cache-dir", join(folder, "cache")];
}

describe("windjammer doctor", () => {
  test("names what is there, and ends with 0 when a server can run", async () => {
    const { code, stdout } = await cli(["doctor", ...FREE, ...(await folders())]);
    expect(stdout).toMatch(new RegExp(`^ok +Node +${process.versions.node},`));
    expect(stdout).toMatch(/^ok +npm +\d/m);
    expect(stdout).toMatch(/^(ok|warn) +state folder +\S+, .* free/m);
    expect(stdout).toMatch(/^ok +onnxruntime-node +onnxruntime-node 1\./m);
    expect(stdout).toContain("all that is needed is here: windjammer start");
    expect(code).toBe(0);
  });

  test("says who uses a port, and gives a free one; one of ours is well", async () => {
    const taken = createServer((socket) => socket.end("220 not http\r\n"));
    taken.listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as AddressInfo;
    const args = ["doctor", "--port", String(port), "--admin-port", new URL(server.wj.adminUrl).port];
    const { code, stdout } = await cli([...args, ...(await folders()), "--json"]);
    const { isWell, findings } = JSON.parse(stdout) as Diagnosis;
    expect([code, isWell]).toEqual([1, false]);
    expect(findings.find(({ name }) => name === "query API")).toMatchObject({
      outcome: "missing",
      found: `port ${port} is used by another program`,
      fix: expect.stringMatching(/^windjammer start --port \d+$/),
      isNeeded: true,
    });
    expect(findings.find(({ name }) => name === "management API")?.found).toContain(
      "a Windjammer answers there",
    );
  });

  test("fails for what is needed only: an engine is none until --need says so", async () => {
    const nowhere = { DOCKER_HOST: "unix:///nowhere/docker.sock" };
    const args = ["doctor", ...FREE, ...(await folders())];
    const optional = await cliJson<Diagnosis>(args, { env: nowhere });
    const docker = optional.findings.find(({ name }) => name === "Docker");
    expect(docker).toMatchObject({ outcome: "missing", isNeeded: false, fix: expect.any(String) });
    expect(docker?.found).toContain("/nowhere/docker.sock");
    const needed = await cli([...args, "--need", "docker"], { env: nowhere });
    expect(needed.code).toBe(1);
    expect(needed.stdout).toMatch(/^MISS +Docker +/m);
    expect(needed.stdout).toContain("something needed is missing");
    expect((await cli(["doctor", "--need", "gpu"])).stderr).toContain("Allowed choices are docker");
  });

  test("gives the command for a package that is missing or has the wrong version", async () => {
    const folder = await tempFolder();
    const old = join(folder, "node_modules", "onnxruntime-node");
    await mkdir(old, { recursive: true });
    await writeFile(join(old, "package.json"), '{"name":"onnxruntime-node","version":"1.2.0"}');
    const args = ["doctor", ...FREE, ...(await folders())];
    const { findings } = await cliJson<Diagnosis>(args, { cwd: folder });
    expect(findings.find(({ name }) => name === "onnxruntime-node")).toMatchObject({
      outcome: "missing",
      found: "onnxruntime-node 1.2.0",
      fix: 'npm install "onnxruntime-node@>=1.22 <2"',
    });
  });

  test("sees folders that cannot be written", async () => {
    const args = ["doctor", ...FREE, "--state-dir", "/proc/nowhere", "--cache-dir", await tempFolder()];
    const { code, stdout } = await cli(args);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^MISS +state folder +\/proc\/nowhere/m);
    expect(stdout).toContain("windjammer start --state-dir FOLDER");
  });
});

async function complete(...words: string[]): Promise<string[]> {
  const { stdout } = await cli(["completion", "bash", "--", ...words], server);
  return stdout.split("\n").slice(0, -1);
}

describe("windjammer completion", () => {
  test("completes commands, options, choices, and names from the server", async () => {
    expect(await complete("de")).toEqual(["deploy", "describe", "delete"]);
    expect(await complete("start", "--runt")).toEqual(["--runtime"]);
    expect(await complete("start", "--runtime", "")).toEqual(["process", "docker"]);
    expect(await complete("delete", "mo")).toEqual(["model"]);
    // A shell does not wait long for names, and this machine may be slow: asked until they come.
    const comes = (...words: string[]): ReturnType<typeof expect.poll> =>
      expect.poll(() => complete(...words));
    await comes("delete", "app", "").toEqual(["harbour"]);
    await comes("predict", "h").toEqual(["harbour"]);
    await comes("rollback", "").toEqual(["tides"]);
    await comes("rollback", "tides", "").toEqual(["2026"]);
    await comes("logs", "-f", "").toEqual(["tides", "harbour"]);
    await comes("link", "harbour", "t").toEqual(["tides"]);
    expect(await complete("deploy", "t")).toEqual([]);
    expect(await complete("nonsense", "")).toEqual([]);
  });

  test("asks the server that the line names", async () => {
    const elsewhere = { WINDJAMMER_URL: "http://127.0.0.1:1" };
    const at = async (...words: string[]): Promise<string> =>
      (await cli(["completion", "bash", "--", ...words], { env: elsewhere })).stdout;
    // A shell does not wait long for names, and this machine may be slow: asked until they come.
    const comes = (...words: string[]): ReturnType<typeof expect.poll> => expect.poll(() => at(...words));
    await comes("rollback", "--url", server.wj.adminUrl, "").toBe("tides\n");
    await comes("rollback", `--url=${server.wj.adminUrl}`, "tides", "").toBe("2026\n");
    expect(await at("rollback", "")).toBe("");
    await using guarded = await windjammer({ port: 0, adminPort: 0, token: "a-token-for-completion" });
    await guarded.putApplication({ name: "guarded", inputType: "json" });
    const url = ["--url", guarded.adminUrl];
    await comes("predict", ...url, "--token", "a-token-for-completion", "").toBe("guarded\n");
    expect(await at("predict", ...url, "")).toBe("");
  });

  test("is silent and quick when no server answers", async () => {
    const silent = createServer(() => {});
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    onTestFinished(() => void silent.close());
    for (const url of ["http://127.0.0.1:1", `http://127.0.0.1:${(silent.address() as AddressInfo).port}`]) {
      const result = await cli(["completion", "bash", "--", "rollback", ""], {
        env: { WINDJAMMER_URL: url },
      });
      expect(result).toEqual({ code: 0, stdout: "", stderr: "" });
    }
  });

  // Each prints the completions of "rollback tides ", of "ver", and of a line with words in quotes.
  test.for([
    [
      "bash",
      `source <(windjammer completion bash)
      try() { COMP_LINE=$1; COMP_POINT=\${#1}; _windjammer; echo "\${COMPREPLY[@]}"; }
      try "windjammer rollback --url $WINDJAMMER_URL tides "
      try "windjammer ver"
      try "windjammer start --state-dir '/a b' --runtime \\"d"`,
    ],
    [
      "zsh",
      `autoload -U compinit; compinit -u -D; source <(windjammer completion zsh)
      compadd() { shift; print -- "$@" }
      words=(windjammer rollback tides ""); CURRENT=4; _windjammer
      words=(windjammer ver); CURRENT=2; _windjammer
      words=(windjammer start --state-dir "'/a b'" --runtime '"d'); CURRENT=6; _windjammer`,
    ],
    [
      "fish",
      `windjammer completion fish | source
      complete -C "windjammer rollback tides "; complete -C "windjammer ver"
      complete -C "windjammer start --state-dir '/a b' '--runtime' d"`,
    ],
  ] as const)("works in %s", async ([shell, script], { skip }) => {
    skip(!hasProgram(shell), `${shell} is not installed`);
    const bin = await tempFolder();
    const program = join(bin, "windjammer");
    await writeFile(program, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
    await chmod(program, 0o755);
    const path = `${bin}${delimiter}${process.env["PATH"] ?? ""}`;
    const completed = async (): Promise<readonly string[]> => {
      const { stdout } = await promisify(execFile)(shell, ["-c", script], {
        env: { ...process.env, ...server.env, PATH: path, HOME: bin },
      });
      return stdout.trim().split("\n");
    };
    await expect.poll(completed).toEqual(["2026", "versions", "docker"]);
  });

  test.each([
    ["windjammer ap", ["apply", "apps"]],
    ["windjammer start --state-dir '/a b/c' --runtime ", ["process", "docker"]],
    ['windjammer start --state-dir "/a b/c" --runtime ', ["process", "docker"]],
    ['windjammer start --state-dir "/a \\"b\\" c" --runtime d', ["docker"]],
    ["windjammer start --state-dir /a\\ b\\'c --runtime d", ["docker"]],
    ["windjammer start --state-dir '/a b", []],
    ["windjammer start --state-dir /a\\ ", []],
    ['windjammer delete "mo', ["model"]],
    ["windjammer delete 'mo'", ["model"]],
    ["windjammer delete ''", ["app", "model", "version"]],
    ["windjammer delete   mo", ["model"]],
  ])("reads a line as bash does: %s", async (line, expected) => {
    const { code, stdout } = await cli(["completion", "bash", `--line=${line}`], server);
    expect([code, stdout.split("\n").slice(0, -1)]).toEqual([0, expected]);
  });

  test("has a script for each shell", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { code, stdout } = await cli(["completion", shell]);
      expect(code).toBe(0);
      expect(stdout).toContain(`windjammer completion ${shell} -`);
      expect(stdout).not.toContain("undefined");
    }
    expect((await cli(["completion", "tcsh"])).code).toBe(2);
  });
});
