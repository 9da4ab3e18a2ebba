// How replicas and the engine are reached: by ports where a model has a network, over TLS, by one server a runtime.
import { execFileSync } from "node:child_process";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { EngineUnreachableError, InvalidOptionsError } from "../../core/errors.ts";
import { findEngine } from "../../core/runtimes/engine-address.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { infer } from "../conformance/replica-client.ts";
import { tempFolder } from "../helpers/temp.ts";
import { dockerBench } from "./bench.ts";
import { EngineProxy } from "./engine-proxy.ts";
import { hasEngine } from "./engine.ts";

const LOOKS_AROUND = `
import { networkInterfaces } from "node:os";
import { existsSync, readFileSync } from "node:fs";
export const predict = (inputs) => inputs.map(() => ({
  networks: Object.keys(networkInterfaces()).toSorted(),
  token: existsSync("/run/secrets/token") ? readFileSync("/run/secrets/token", "utf8") : null,
}));`;

/** Stops its own server program: it neither answers nor ends. */
const FREEZES = `export const predict = () => { process.kill(process.pid, "SIGSTOP"); return []; };`;

describe.skipIf(!hasEngine)("a replica", () => {
  it("with a network has one, and is reached by a port of this machine only; its secrets come along", async () => {
    await using bench = await dockerBench({
      models: { bench: { network: true, secrets: { token: "hush" } } },
    });
    const replica = await bench.start(LOOKS_AROUND);
    expect(replica.address).toMatchObject({ host: "127.0.0.1", port: expect.any(Number) });
    expect(await infer(replica, [[1]])).toEqual([{ networks: ["eth0", "lo"], token: "hush" }]);
    expect(bench.runtime.abilities.enforces).not.toContain("network");
  });

  it("that fails the engine's health checks is ended, and that is why", async () => {
    await using bench = await dockerBench({
      healthCheck: { intervalMs: 500, timeoutMs: 3_000, retries: 3, startPeriodMs: 500 },
    });
    const replica = await bench.start(FREEZES);
    const answer = infer(replica, [[1]]).catch((error: unknown) => error);
    expect(await replica.exited).toMatchObject({
      reason: "killed",
      message: expect.stringMatching(/^failed its health checks/),
    });
    expect(await answer).toBeInstanceOf(Error);
    expect(await bench.runtime.list()).toEqual([]);
  });
});

describe.skipIf(!hasEngine)("a docker runtime", () => {
  it("serves one server in its life", async () => {
    await using bench = await dockerBench();
    const context = { runDir: join(bench.folder, "other"), cacheDir: bench.folder, owner: "other" };
    await expect(bench.runtime.open(context)).rejects.toThrow(InvalidOptionsError);
  });

  it("uses the engine that the option names, whatever DOCKER_HOST and its certificates say", async () => {
    vi.stubEnv("DOCKER_HOST", "tcp://127.0.0.1:1");
    vi.stubEnv("DOCKER_TLS_VERIFY", "1");
    onTestFinished(() => void vi.unstubAllEnvs());
    const engine = await Engine.connect("unix:///var/run/docker.sock");
    expect((await engine.info()).version).toMatch(/^\d+\./);
  });

  it("uses an engine over TLS, with the certificates of a folder, and no other way", async () => {
    const folder = await certificates();
    const [ca, cert, key] = await Promise.all(
      ["ca.pem", "server.pem", "server-key.pem"].map((name) => readFile(join(folder, name))),
    );
    await using proxy = await EngineProxy.start(undefined, {
      ca,
      cert,
      key,
      requestCert: true,
      rejectUnauthorized: true,
    });
    const found = await findEngine(undefined, {
      DOCKER_HOST: proxy.host,
      DOCKER_TLS_VERIFY: "1",
      DOCKER_CERT_PATH: folder,
    });
    const engine = await Engine.at(found);
    expect((await engine.info()).version).toMatch(/^\d+\./);

    const stranger = await findEngine(undefined, { DOCKER_HOST: `https://${proxy.address}` });
    await expect(Engine.at(stranger)).rejects.toThrow(EngineUnreachableError);
    const plain = await findEngine(undefined, { DOCKER_HOST: proxy.host });
    await expect(Engine.at(plain)).rejects.toThrow(Error);
  });
});

/** A folder as DOCKER_CERT_PATH names one, with a server's pair beside it. */
async function certificates(): Promise<string> {
  const folder = await tempFolder();
  const openssl = (...args: readonly string[]): void => {
    execFileSync("openssl", [...args], { cwd: folder, stdio: "ignore" });
  };
  const keyed = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const ca = ["-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2"];
  openssl("req", "-x509", ...keyed, ...ca);
  for (const name of ["server", "client"]) {
    const request = ["-keyout", `${name}-key.pem`, "-out", `${name}.csr`, "-subj", `/CN=${name}`];
    openssl("req", ...keyed, ...request, "-addext", "subjectAltName=IP:127.0.0.1");
    const by = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-copy_extensions", "copy"];
    openssl("x509", "-req", "-in", `${name}.csr`, ...by, "-out", `${name}.pem`, "-days", "2");
  }
  await rename(join(folder, "client.pem"), join(folder, "cert.pem"));
  await rename(join(folder, "client-key.pem"), join(folder, "key.pem"));
  return folder;
}
