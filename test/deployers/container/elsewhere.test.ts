// Servers elsewhere over their life: their own versions, other contracts from version to version, some that are lost,
// and a certificate authority of one's own.
import { execFile, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import {
  deployContainer,
  ReplicaStartError,
  windjammer,
  type ContainerModelOptions,
  type DeployedApplication,
  type DeployOptions,
  type JsonValue,
  type Windjammer,
} from "../../../deployers/index.ts";
import { foreignServer, json, VECTORS, type ServerScript } from "../../helpers/foreign-servers.ts";
import { tempFolder } from "../../helpers/temp.ts";

let wj: Windjammer;

beforeAll(async () => {
  wj = await windjammer({ port: 0, adminPort: 0 });
});

afterAll(() => wj.close());

function deploy(
  name: string,
  options: Partial<ContainerModelOptions & DeployOptions>,
): Promise<DeployedApplication> {
  const common = { name, version: "1", modelName: "m", readyTimeoutMs: 60_000 };
  return deployContainer<JsonValue, JsonValue>(wj, { ...common, ...options });
}

/** A model `m` that adds `bias`, at a version's own path and at the model's. */
function adding(bias: number, version: string): NonNullable<ServerScript["answers"]> {
  const path = `/v2/models/m/versions/${version}`;
  const answer = json({ outputs: [{ name: "y", datatype: "FP32", shape: [1, 2], data: [bias, bias] }] });
  return {
    [`GET ${path}`]: json({ name: "m", versions: ["1", "2"], ...VECTORS }),
    [`GET ${path}/ready`]: json({ ready: true }),
    [`POST ${path}/infer`]: answer,
  };
}

describe("a server with versions of its own", () => {
  it("serves the one that is named, by all of its paths; without a name the one it chooses", async () => {
    const server = await foreignServer({
      answers: {
        ...adding(1, "1"),
        ...adding(2, "2"),
        "GET /v2/models/m": json({ name: "m", versions: ["1", "2"], ...VECTORS }),
      },
    });
    const first = await deploy("its-first", { url: server.url, modelVersion: "1" });
    const second = await deploy("its-second", { url: server.url, modelVersion: "2" });
    const chosen = await deploy("its-choice", { url: server.url });
    expect(await first.predict([5, 5])).toEqual([1, 1]);
    expect(await second.predict([5, 5])).toEqual([2, 2]);
    expect(await chosen.predict([5, 5])).toEqual([5, 5]);
    expect(server.asked).toContain("GET /v2/models/m/versions/1/ready");
    expect((await wj.versions("its-first"))[0]?.manifest.container).toMatchObject({ modelVersion: "1" });
  });

  it("names those that it has when it has not the one that is asked for, at once", async () => {
    const server = await foreignServer({
      answers: { "GET /v2/models/m": json({ name: "m", versions: ["1", "2"], ...VECTORS }) },
    });
    const failed = deploy("its-ninth", { url: server.url, modelVersion: "9", readyTimeoutMs: 60_000 });
    await expect(failed).rejects.toThrow(ReplicaStartError);
    await expect(failed).rejects.toThrow("it has no version 9 of model m, but 1, 2");
  });

  it.each([404, 501])("that knows none says so at once (%i)", async (status) => {
    const answers = {
      "GET /v2/models/m": json({ name: "m", ...VECTORS }),
      "GET /v2/models/m/versions/1": json({ error: "no versions" }, status),
      "GET /v2/models/m/versions/1/ready": json({ error: "no versions" }, status),
    };
    const server = await foreignServer({ answers });
    const failed = deploy(`versionless-${status}`, {
      url: server.url,
      modelVersion: "1",
      readyTimeoutMs: 60_000,
    });
    await expect(failed).rejects.toThrow(
      `it knows no versions of model m (GET /v2/models/m/versions/1 answers ${status}: no versions); leave modelVersion out`,
    );
  });
});

it("two versions with other contracts, each learned from its server, serve in turn: switch, and back", async () => {
  const triples = { name: "x", datatype: "FP64", shape: [-1, 3] };
  const other = { inputs: [triples], outputs: [{ ...triples, name: "y" }] };
  const old = await foreignServer();
  const fresh = await foreignServer({ answers: { "GET /v2/models/m": json({ name: "m", ...other }) } });
  const app = await deploy("learned", { url: old.url });
  expect(await app.predict([1, 2])).toEqual([1, 2]);
  await deploy("learned", { url: fresh.url, version: "2" });
  expect(await app.predict([1, 2, 1e300])).toEqual([1, 2, 1e300]);
  await expect(app.predict([1, 2])).rejects.toThrow("FP64 [3]");
  const versions = (await wj.versions("learned")).toSorted((a, b) => a.version.localeCompare(b.version));
  const declared = versions.map(({ manifest }) => manifest.contract.inputs[0]);
  expect(declared).toMatchObject([
    { datatype: "FP32", shape: [2] },
    { datatype: "FP64", shape: [3] },
  ]);
  await wj.setVersion("learned", "1");
  expect(await app.predict([1, 2])).toEqual([1, 2]);
  await expect(app.predict([1, 2, 3])).rejects.toThrow("FP32 [2]");
  await wj.setVersion("learned", "2");
  expect(await app.predict([3, 2, 1])).toEqual([3, 2, 1]);
});

async function stateOf(url: string): Promise<readonly string[]> {
  return (await wj.replicas()).filter(({ handle }) => handle === url).map(({ state }) => state);
}

it("of several servers one is lost while they are scaled: the other serves all of it, until it is back", async () => {
  const [a, b] = [await foreignServer(), await foreignServer()];
  const app = await deploy("scaled", { url: [a.url, b.url] });
  await a.stop();
  await expect.poll(() => stateOf(a.url)).not.toContain("ready");
  await wj.scale("scaled", 1);
  expect(
    await app.predictBatch([
      [1, 2],
      [3, 4],
    ]),
  ).toEqual([
    [1, 2],
    [3, 4],
  ]);
  const up = wj.scale("scaled", 3).catch((error: unknown) => error);
  for (let query = 0; query < 20; query++) expect(await app.predict([query, 1])).toEqual([query, 1]);
  await a.restart();
  await up;
  await expect.poll(() => stateOf(a.url)).toContain("ready");
  const before = a.requests.length;
  await expect
    .poll(async () => {
      await Promise.all(Array.from({ length: 50 }, (_, query) => app.predict([query, 1])));
      return a.requests.length;
    })
    .toBeGreaterThan(before);
});

interface Authority {
  /** File of its certificate. */
  readonly path: string;
  readonly key: Buffer;
  readonly cert: Buffer;
}

function openssl(...args: readonly string[]): Promise<unknown> {
  return promisify(execFile)("openssl", args);
}

/** A certificate authority of one's own, and a certificate of 127.0.0.1 that it signed. */
async function authority(): Promise<Authority> {
  const folder = await tempFolder();
  const at = (name: string): string => join(folder, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
  await openssl(
    "req",
    "-x509",
    ...key,
    at("ca.key"),
    "-out",
    at("ca.pem"),
    "-days",
    "2",
    "-subj",
    "/CN=own CA",
  );
  await openssl("req", ...key, at("own.key"), "-out", at("own.csr"), "-subj", "/CN=server");
  await writeFile(at("names"), "subjectAltName=IP:127.0.0.1");
  const ca = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-extfile", at("names")];
  await openssl("x509", "-req", "-in", at("own.csr"), ...ca, "-out", at("own.pem"), "-days", "2");
  return { path: at("ca.pem"), key: await readFile(at("own.key")), cert: await readFile(at("own.pem")) };
}

/** What the program that deploys the server at `url` prints, by one line of JSON. */
async function deployedFrom(environment: Readonly<Record<string, string>>, url: string): Promise<unknown> {
  const program = fileURLToPath(new URL("https-program.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=windjammer-source", program, url], {
    env: { PATH: process.env["PATH"], ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) text += String(chunk);
  return JSON.parse(text) as unknown;
}

it("at https:// with a certificate of an authority of one's own is trusted by NODE_EXTRA_CA_CERTS, and not without", async () => {
  const { path, key, cert } = await authority();
  const plain = await foreignServer();
  const secure = createServer({ key, cert }, (request, response) =>
    plain.server.emit("request", request, response),
  );
  await new Promise<void>((resolve) => secure.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    secure.closeAllConnections();
    await new Promise((resolve) => secure.close(resolve));
  });
  const url = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`;
  expect(await deployedFrom({ NODE_EXTRA_CA_CERTS: path }, url)).toEqual({ output: [1.5, -2] });
  expect(await deployedFrom({}, url)).toEqual({
    code: "REPLICA_START_FAILED",
    message: expect.stringMatching(
      /unable to verify the first certificate.*NODE_EXTRA_CA_CERTS where windjammer runs/,
    ),
  });
});
