import { expect, test, vi } from "vitest";
import { createLog } from "../../../../core/log.ts";
import { RpcService } from "../../../../core/replicas/clipper-rpc/service.ts";

vi.mock("zeromq", () => {
  throw new Error("Cannot find package 'zeromq'");
});

test("without its package the RPC port says what to install, and how to do without", async () => {
  const service = new RpcService({
    host: "127.0.0.1",
    port: 0,
    log: createLog("silent"),
    place: () => ({ kind: "none", why: "" }),
    onChange: () => () => undefined,
  });
  await expect(service.listen()).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringMatching(/npm install zeromq.*--clipper-rpc-port off/),
  });
  await service.close();
});
