// What the engine is asked for, as text: limits, rights, GPUs, networks, mounts.
import { expect, it } from "vitest";
import { manifest } from "../../../../core/deploy/deployer.ts";
import { InvalidOptionsError } from "../../../../core/errors.ts";
import { docker, type ContainerOptions } from "../../../../core/runtimes/docker/index.ts";
import { replicaRequest, type Transport } from "../../../../core/runtimes/docker/request.ts";
import type { ContainerRequest } from "../../../../core/runtimes/engine.ts";

function requested(
  options: ContainerOptions,
  { transport = "socket", cpus = 1 }: { transport?: Transport; cpus?: number } = {},
): ContainerRequest {
  const folder = { path: "/f", sockets: "/f/run", secrets: "/f/secrets", socketPath: "/f/run/s" };
  const described = manifest({ deployer: "test", loader: "function", inputType: "doubles", model: {} });
  const bundle = { hash: "h", root: "/b", files: "/b/files", manifest: described };
  return replicaRequest(
    { id: "m-1-r1", model: "m", version: "1", image: "i", bundle, limits: { cpus } },
    {
      options,
      transport,
      user: { uid: 1000, gid: 1000, needsChown: false },
      publishOn: "127.0.0.1",
      folder,
      labels: {},
      engineCpus: 2,
      port: 8080,
    },
  );
}

it("gives a replica no right, no network, no swap and a writable /tmp only", () => {
  expect(requested({})).toMatchObject({
    User: "1000:1000",
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      Init: true,
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      NetworkMode: "none",
      PidsLimit: 512,
      Memory: 4096 * 2 ** 20,
      MemorySwap: 4096 * 2 ** 20,
      Tmpfs: { "/tmp": "rw,nosuid,nodev,size=64m,mode=1777" },
    },
  });
});

it.each([
  ["all", { Count: -1 }],
  [2, { Count: 2 }],
  [["GPU-1", "GPU-2"], { DeviceIDs: ["GPU-1", "GPU-2"] }],
] as const)("asks for GPUs %j", (gpus, which) => {
  expect(requested({ gpus }).HostConfig?.DeviceRequests).toEqual([
    { Driver: "", Capabilities: [["gpu"]], ...which },
  ]);
  expect(docker({ gpus }).abilities.hasGpu).toBe(true);
});

it("gives a core more than compute threads, unless less than one is asked for", () => {
  expect(requested({}, { cpus: 1 }).HostConfig?.NanoCpus).toBe(2e9);
  expect(requested({}, { cpus: 0.5 }).HostConfig?.NanoCpus).toBe(0.5e9);
});

it("never asks for more cores than the engine has, which it would refuse", () => {
  expect(requested({}, { cpus: 8 }).HostConfig?.NanoCpus).toBe(2e9);
});

it("publishes a port on one address only, and mounts secrets without a socket", () => {
  const { Env, HostConfig } = requested({ network: true, secrets: { a: "b" } }, { transport: "port" });
  expect(HostConfig?.PortBindings).toEqual({ "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "0" }] });
  expect(HostConfig?.NetworkMode).toBe("bridge");
  expect(HostConfig?.Mounts?.map((mount) => mount.Target)).toEqual(["/run/secrets"]);
  expect(Env).toContain("PORT=8080");
});

it("lets the engine run the image's health check when asked to", () => {
  expect(requested({ healthCheck: true }).Healthcheck).toEqual({
    Interval: 1e10,
    Timeout: 5e9,
    Retries: 3,
    StartPeriod: 6e10,
  });
});

it("refuses networks on which no port can be published", () => {
  for (const network of ["host", "none", "container:x"]) {
    expect(() => docker({ network })).toThrow(InvalidOptionsError);
    expect(() => docker({ models: { digits: { network } } })).toThrow(InvalidOptionsError);
  }
  docker({ network: "host", transport: "socket" });
});
