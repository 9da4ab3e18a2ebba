// The composition root: what it may close when a start fails, and what a server leaves behind.
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { expect, it, vi } from "vitest";
import { answeringCount } from "../../core/config.ts";
import { InvalidOptionsError } from "../../core/errors.ts";
import { startServer } from "../../core/windjammer.ts";
import { ScriptedRuntime } from "../helpers/scripted-runtime.ts";

it("leaves a runtime alone that it could not open: it is another server's", async () => {
  const runtime = new ScriptedRuntime(({ inputs }) => ({ outputs: inputs }));
  await using first = await startServer({ runtime, port: 0, adminPort: 0 });
  const close = vi.spyOn(runtime, "close");
  vi.spyOn(runtime, "open").mockRejectedValue(new InvalidOptionsError("used by another server"));
  await expect(startServer({ runtime, port: 0, adminPort: 0 })).rejects.toThrow(InvalidOptionsError);
  expect(close).not.toHaveBeenCalled();
  await first.close();
  expect(close).toHaveBeenCalledTimes(1);
});

it("removes its temporary state folder on close", async () => {
  const runtime = new ScriptedRuntime(({ inputs }) => ({ outputs: inputs }));
  const server = await startServer({ runtime, port: 0, adminPort: 0 });
  expect(existsSync(server.stateDir)).toBe(true);
  await server.close();
  expect(existsSync(server.stateDir)).toBe(false);
});

it.each([
  [{ workers: 0 }, "workers: expected number to be >=1, got 0"],
  [{ workers: 1.5 }, "workers: expected"],
  [{ workers: 2, clipper: true }, "Clipper's model containers connect to one process"],
])("refuses workers that cannot be: %j", async (options, message) => {
  const runtime = new ScriptedRuntime(({ inputs }) => ({ outputs: inputs }));
  await expect(startServer({ runtime, port: 0, adminPort: 0, ...options })).rejects.toThrow(message);
});

it("takes three quarters of the cores for workers where it may choose, and one is this process", async () => {
  const runtime = new ScriptedRuntime(({ inputs }) => ({ outputs: inputs }));
  await using server = await startServer({ runtime, port: 0, adminPort: 0, workers: "auto" });
  expect(server.workerCount).toBe(Math.max(1, Math.floor((availableParallelism() * 3) / 4)));
});

it("shares a cache among all processes that answer predictions", () => {
  const counts = [1, 2, 4].flatMap((workers) =>
    [undefined, 1339].map((grpcPort) => answeringCount({ workers, grpcPort })),
  );
  expect(counts).toEqual([1, 1, 2, 3, 4, 5]);
});
