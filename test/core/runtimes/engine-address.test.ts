// The engine's address, as users of Docker say it.
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { InvalidOptionsError } from "../../../core/errors.ts";
import { findEngine } from "../../../core/runtimes/engine-address.ts";
import { tempFolder } from "../../helpers/temp.ts";

function from(host: string): ReturnType<typeof findEngine> {
  return findEngine(undefined, { DOCKER_HOST: host });
}

it("is the option, else DOCKER_HOST, in each of its forms", async () => {
  expect(await findEngine("unix:///a/b.sock", { DOCKER_HOST: "tcp://x:1" })).toMatchObject({
    kind: "socket",
    path: "/a/b.sock",
  });
  expect(await from("tcp://10.0.0.1")).toMatchObject({ kind: "tcp", host: "10.0.0.1", port: 2375 });
  expect(await from("tcp://[::1]:99")).toMatchObject({ kind: "tcp", host: "::1", port: 99 });
  expect(await from("ssh://far")).toEqual({ kind: "ssh", host: "far", shown: "ssh://far (DOCKER_HOST)" });
  expect(await from("ssh://me@host:99/run/docker.sock")).toMatchObject({
    kind: "ssh",
    host: "host",
    port: 99,
    user: "me",
    path: "/run/docker.sock",
  });
  await expect(from("ssh://host/$(whoami)")).rejects.toThrow(InvalidOptionsError);
  await expect(from("carrier pigeon")).rejects.toThrow(InvalidOptionsError);
});

it("takes keys and certificates from DOCKER_CERT_PATH", async () => {
  const folder = await tempFolder();
  for (const name of ["ca", "cert", "key"]) await writeFile(join(folder, `${name}.pem`), `the ${name}`);
  const variables = { DOCKER_HOST: "tcp://h", DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: folder };
  expect(await findEngine(undefined, variables)).toMatchObject({
    port: 2376,
    tls: { ca: "the ca", cert: "the cert", key: "the key" },
  });
});

it("is that of a context by name, or of the current one", async () => {
  const config = await tempFolder();
  const meta = join(config, "contexts/meta", createHash("sha256").update("far").digest("hex"));
  await mkdir(meta, { recursive: true });
  await writeFile(
    join(meta, "meta.json"),
    JSON.stringify({ Name: "far", Endpoints: { docker: { Host: "tcp://far:2375" } } }),
  );
  const far = { kind: "tcp", host: "far", shown: "tcp://far:2375 (context far)" };
  expect(await findEngine(undefined, { DOCKER_CONFIG: config, DOCKER_CONTEXT: "far" })).toMatchObject(far);
  await writeFile(join(config, "config.json"), JSON.stringify({ currentContext: "far" }));
  expect(await findEngine(undefined, { DOCKER_CONFIG: config })).toMatchObject(far);
  await expect(findEngine(undefined, { DOCKER_CONFIG: config, DOCKER_CONTEXT: "near" })).rejects.toThrow(
    "docker context ls",
  );
});

it("is the first socket there is", async () => {
  const config = await tempFolder();
  expect(await findEngine(undefined, { DOCKER_CONFIG: config })).toMatchObject({ kind: "socket" });
});
