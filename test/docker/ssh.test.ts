// An engine on "another machine": this one, through a real sshd, with the keys and hosts of an ssh configuration.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { EngineUnreachableError } from "../../core/errors.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { infer } from "../conformance/replica-client.ts";
import { dockerBench } from "./bench.ts";
import { hasEngine } from "./engine.ts";
import { freePort } from "../helpers/free-ports.ts";

const SSHD = "/usr/sbin/sshd";
/** `docker system dial-stdio` is what ssh runs there. */
const hasSsh = existsSync(SSHD) && existsSync("/usr/bin/docker");

describe.skipIf(!hasEngine || !hasSsh)("an engine behind ssh", () => {
  let folder: string;
  let port: number;
  let sshd: ChildProcess;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wj-ssh-"));
    port = await freePort();
    for (const name of ["host", "user"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)]);
    await writeFile(
      join(folder, "known"),
      `[127.0.0.1]:${port} ${await readFile(join(folder, "host.pub"), "utf8")}`,
    );
    await writeFile(join(folder, "authorized"), await readFile(join(folder, "user.pub")));
    const config = {
      ListenAddress: "127.0.0.1",
      Port: port,
      HostKey: join(folder, "host"),
      UsePAM: "no",
      StrictModes: "no",
      PidFile: "none",
      AuthorizedKeysFile: join(folder, "authorized"),
    };
    await writeFile(
      join(folder, "sshd_config"),
      Object.entries(config)
        .map((entry) => `${entry.join(" ")}\n`)
        .join(""),
    );
    // The user's own configuration, which ssh finds by his home folder.
    await writeFile(
      join(folder, "config"),
      `Host far\n HostName 127.0.0.1\n Port ${port}\nHost far 127.0.0.1\n IdentityFile ${folder}/user\n UserKnownHostsFile ${folder}/known\n`,
    );
    await mkdir(join(folder, "bin"));
    await writeFile(join(folder, "bin/ssh"), `#!/bin/sh\nexec /usr/bin/ssh -F ${folder}/config "$@"\n`);
    await chmod(join(folder, "bin/ssh"), 0o755);
    vi.stubEnv("PATH", `${join(folder, "bin")}${delimiter}${process.env["PATH"] ?? ""}`);
    await mkdir("/run/sshd", { recursive: true });
    const server = spawn(SSHD, ["-D", "-e", "-f", join(folder, "sshd_config")]);
    sshd = server;
    for await (const text of server.stderr.iterator({ destroyOnReturn: false }))
      if (String(text).includes("listening")) break;
    server.stderr.resume();
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    if (sshd !== undefined) {
      const gone = once(sshd, "exit");
      sshd.kill();
      await gone;
    }
    await rm(folder, { recursive: true, force: true });
  });

  it("is reached by the name that the user's ssh knows, and builds, runs, follows and stops as any other", async () => {
    await using bench = await dockerBench({ host: "ssh://far" });
    const replica = await bench.start(
      `export const predict = (inputs) => { console.log("asked"); return inputs.map(() => "far"); };`,
    );
    expect(await infer(replica, [[1]])).toEqual(["far"]);
    await expect.poll(() => replica.tail(10).map(({ text }) => text)).toContain("asked");
    await replica.stop(1_000);
    expect((await replica.exited).reason).toBe("stopped");
  });

  it("is reached at an address with user, port and the path of its socket", async () => {
    const engine = await Engine.connect(`ssh://root@127.0.0.1:${port}/var/run/docker.sock`);
    expect((await engine.info()).version).toMatch(/^\d+\./);
    await expect(Engine.connect(`ssh://root@127.0.0.1:${port}/nowhere.sock`)).rejects.toThrow(
      EngineUnreachableError,
    );
  });

  it("that does not let this user in is named, with what ssh says", async () => {
    const host = `ssh://nobody@127.0.0.1:${port}`;
    const failure = Engine.connect(host);
    await expect(failure).rejects.toThrow(EngineUnreachableError);
    await expect(failure).rejects.toThrow(/ssh:\/\/nobody@\S+ .*Permission denied.*: let `ssh HOST/s);
  });
});
