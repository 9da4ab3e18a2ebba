// A deploy call against a management API that does what a real one does seldom, and on a machine in trouble.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Client } from "../../../core/client/client.ts";
import { DiskFullError, GateFailedError, InvalidBundleError, WindjammerError } from "../../../core/errors.ts";
import type { DeploymentError } from "../../../core/types.ts";
import { answering, sourceDeployer } from "../../helpers/bundles.ts";

const OPTIONS = { name: "m", version: "1", source: answering("input") };

/** What it is told to do. */
interface Script {
  /** Hash it says it stored, in place of the right one. */
  storedAs?: string;
  /** Times it says that it has not the bundle. */
  losses: number;
  error?: DeploymentError;
}

class ScriptedApi implements AsyncDisposable {
  readonly script: Script = { losses: 0 };
  uploads = 0;
  begins = 0;
  #bundle = "";
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  async connect(): Promise<Client> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return Client.connect(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for await (const _ of request);
    const path = request.url?.replace("/api/v1", "") ?? "";
    const json = (status: number, body: object): void =>
      void response.writeHead(status).end(JSON.stringify(body));
    if (path === "/server") {
      const limits = { maxInputs: 10, maxBodyBytes: 10_000 };
      json(200, { queryUrl: "http://127.0.0.1:1", version: "0", runtime: "none", startedAt: "", limits });
    } else if (request.method === "HEAD") {
      this.#bundle = path.replace("/bundles/", "");
      json(404, {});
    } else if (path === "/bundles") {
      this.uploads++;
      json(201, { bundle: this.script.storedAs ?? this.#bundle });
    } else if (path === "/deployments") {
      this.begins++;
      if (this.begins <= this.script.losses)
        json(404, { error: "BUNDLE_NOT_FOUND", message: "gone", details: {} });
      else json(202, this.#deployment());
    } else response.end(`event: end\ndata: ${JSON.stringify(this.#deployment())}\n\n`);
  }

  #deployment(): object {
    const { error } = this.script;
    const record = { id: "d", application: "m", model: "m", version: "1", bundle: this.#bundle };
    return { ...record, state: error === undefined ? "succeeded" : "failed", error };
  }
}

describe("deploy", () => {
  let api: ScriptedApi;
  let wj: Client;

  beforeEach(async () => {
    api = new ScriptedApi();
    wj = await api.connect();
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await wj.close();
    await api[Symbol.asyncDispose]();
  });

  const thrown = (deployer = sourceDeployer): Promise<unknown> =>
    wj.deploy(deployer, OPTIONS).catch((error: unknown) => error);

  test("sends a bundle again that was lost between its upload and the request, once", async () => {
    api.script.losses = 1;
    await wj.deploy(sourceDeployer, OPTIONS);
    expect([api.uploads, api.begins]).toEqual([2, 2]);
    api.script.losses = 9;
    expect(await thrown()).toMatchObject({ code: "BUNDLE_NOT_FOUND" });
    expect([api.uploads, api.begins]).toEqual([4, 4]);
  });

  test("throws the class of the failure, with what it says for programs", async () => {
    api.script.error = {
      code: "GATE_FAILED",
      message: "example 0 differs",
      step: "gate",
      logTail: ["last words"],
      details: { example: 0, expected: 1, got: 2 },
    };
    const error = await thrown();
    expect(error).toBeInstanceOf(GateFailedError);
    expect(error).toMatchObject({
      details: { example: 0, expected: 1, got: 2, deployment: "d", step: "gate", logTail: ["last words"] },
    });
  });

  test("says so when the server stored something else than was sent", async () => {
    api.script.storedAs = "0".repeat(64);
    const error = await thrown();
    expect(error).toBeInstanceOf(InvalidBundleError);
    expect(String(error)).toContain("executable");
    expect(error).toMatchObject({ details: { stored: "0".repeat(64) } });
    expect(api.begins).toBe(0);
  });

  test("a folder for temporary files that is not there is named, with TMPDIR", async () => {
    vi.stubEnv("TMPDIR", "/nonexistent");
    const error = await thrown();
    expect(error).toBeInstanceOf(WindjammerError);
    expect(String(error)).toContain("/nonexistent");
    expect(String(error)).toContain("set TMPDIR");
  });

  test.each([
    ["missing file", () => readFile("/nonexistent/weights"), "INTERNAL", "/nonexistent/weights"],
    [
      "full disk",
      () => Promise.reject(Object.assign(new Error("write"), { code: "ENOSPC" })),
      "DISK_FULL",
      "TMPDIR",
    ],
  ] as const)("wraps what the file system says: %s", async (...[, bundle, code, words]) => {
    const error = await thrown({ ...sourceDeployer, bundle: bundle as never });
    expect(error).toBeInstanceOf(WindjammerError);
    expect(error).toMatchObject({ code, cause: expect.any(Error) });
    expect(error instanceof DiskFullError).toBe(code === "DISK_FULL");
    expect(String(error)).toContain(words);
  });
});
