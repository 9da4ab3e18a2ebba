// Servers of others, reached by URL: what they answer differently, and what a caller sees of it.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  ContractMismatchError,
  deployContainer,
  ModelError,
  ReplicaStartError,
  UnsupportedModelError,
  windjammer,
  type ContainerModelOptions,
  type DeployedApplication,
  type DeployOptions,
  type JsonValue,
  type TensorSpec,
  type Windjammer,
} from "../../../deployers/index.ts";
import { tempFolder } from "../../helpers/temp.ts";
import { foreignServer, json, VECTORS, type ServerScript } from "../../helpers/foreign-servers.ts";

let wj: Windjammer;
let deployedCount = 0;

beforeAll(async () => {
  wj = await windjammer({ port: 0, adminPort: 0 });
});

afterAll(() => wj.close());

afterEach(() => {
  vi.unstubAllEnvs();
});

async function selfSigned(): Promise<{ readonly key: Buffer; readonly cert: Buffer }> {
  const folder = await tempFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2"];
  await promisify(execFile)("openssl", [...args, "-subj", "/CN=127.0.0.1"]);
  return { key: await readFile(key), cert: await readFile(cert) };
}

type Deployed = DeployedApplication;

async function deploy(
  url: ContainerModelOptions["url"],
  options: Partial<ContainerModelOptions & DeployOptions> = {},
): Promise<Deployed> {
  const app = await deployContainer<JsonValue>(wj, {
    name: `foreign-${++deployedCount}`,
    version: "1",
    url,
    modelName: "m",
    readyTimeoutMs: 60_000,
    ...options,
  });
  return app;
}

/** A model of one input `x` and one output `y` of a type. */
function echoing(datatype: string, shape: readonly number[] = [-1, 2]): ServerScript {
  const tensors = { inputs: [{ name: "x", datatype, shape }], outputs: [{ name: "y", datatype, shape }] };
  return { answers: { "GET /v2/models/m": json({ name: "m", ...tensors }) } };
}

describe("a server without the binary extension", () => {
  it("gets JSON tensors with their type, and its answers come back", async () => {
    const server = await foreignServer();
    const app = await deploy(server.url);
    expect(await app.predict([1.5, -2])).toEqual([1.5, -2]);
    expect(server.requests.at(-1)).toMatchObject({
      path: "/v2/models/m/infer",
      contentType: "application/json",
      headerLength: undefined,
      text: '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1.5,-2]}]}',
    });
  });

  it("gets batches, each row its own answer", async () => {
    const app = await deploy((await foreignServer()).url);
    const rows = Array.from({ length: 100 }, (_, index) => [index, -index]);
    expect(await app.predictBatch(rows)).toEqual(rows.map(([a]) => [a, a === 0 ? 0 : -(a ?? 0)]));
  });

  it("keeps 64-bit integers exact both ways", async () => {
    const server = await foreignServer(echoing("INT64"));
    const app = await deploy(server.url);
    const reply = await fetch(app.url, {
      method: "POST",
      body: '{"input":[9223372036854775807,-9007199254740993]}',
    });
    expect(await reply.text()).toContain('"output":[9223372036854775807,-9007199254740993]');
  });

  it("keeps strings, with all their characters", async () => {
    const app = await deploy((await foreignServer(echoing("BYTES"))).url);
    expect(await app.predict(['quo"te', "日本 \u0000 🎺"])).toEqual(['quo"te', "日本 \u0000 🎺"]);
  });

  it("is not sent bytes that are no text, which JSON cannot hold: that query alone fails", async () => {
    const app = await deploy((await foreignServer(echoing("BYTES", [-1]))).url);
    const answers = await app.predictDetailed(["a", { b64: "/9g=" }, "ü"]);
    expect(answers).toMatchObject([
      { output: "a" },
      { error: { code: "INVALID_INPUT", message: expect.stringContaining("takes tensors as JSON only") } },
      { output: "ü" },
    ]);
  });

  it.each(["BOOL", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "FP64"])(
    "takes %s",
    async (datatype) => {
      const app = await deploy((await foreignServer(echoing(datatype))).url);
      const value = datatype === "BOOL" ? [true, false] : [1, 100];
      expect(await app.predict(value)).toEqual(value);
    },
  );

  it("is refused for FP16, which JSON cannot hold", async () => {
    const failed = deploy((await foreignServer(echoing("FP16"))).url);
    await expect(failed).rejects.toThrow(UnsupportedModelError);
    await expect(failed).rejects.toThrow("cannot hold FP16 (tensor x)");
  });

  it("may write numbers that JSON does not have, as Triton does: they become null", async () => {
    const body =
      '{"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[NaN,-Infinity]}],"id":"NaN"}';
    const app = await deploy((await foreignServer({ infer: () => ({ status: 200, body }) })).url);
    expect(await app.predict([1, 2])).toEqual([null, null]);
  });

  it("may nest its data, and name another model and version", async () => {
    const outputs = [{ name: "y", datatype: "FP32", shape: [1, 2], data: [[3, 4]] }];
    const infer = (): ReturnType<typeof json> =>
      json({ model_name: "other", model_version: "v2.1-rc", id: "x", outputs });
    const app = await deploy((await foreignServer({ infer })).url);
    expect(await app.predict([1, 2])).toEqual([3, 4]);
  });

  it("that answers with something else fails the query alone, with the reason", async () => {
    const outputs = [{ name: "y", datatype: "FP32", shape: [1, 2], data: [1] }];
    const app = await deploy((await foreignServer({ infer: () => json({ outputs }) })).url, {
      contract: contractOf("FP32"),
    }).catch((error: unknown) => error);
    expect(String(app)).toContain("output y: the shape takes 2 elements");
  });
});

function contractOf(
  datatype: TensorSpec["datatype"],
  more: object = {},
): NonNullable<ContainerModelOptions["contract"]> {
  return {
    inputs: [{ name: "x", datatype, shape: [2] }],
    outputs: [{ name: "y", datatype, shape: [2] }],
    isBatched: true,
    ...more,
  };
}

describe("Triton", () => {
  const triton: ServerScript = {
    answers: {
      "GET /v2": json({
        name: "triton",
        version: "2.50.0",
        extensions: ["classification", "sequence", "model_repository", "binary_tensor_data", "statistics"],
      }),
      "GET /v2/health/live": { status: 200 },
      "GET /v2/health/ready": { status: 200 },
      "GET /v2/models/m/ready": { status: 200 },
      "GET /v2/models/m/config": json({ name: "m", max_batch_size: 4 }),
    },
    infer: ({ text, headerLength = 0 }) => {
      const header = JSON.parse(text.slice(0, headerLength)) as { inputs: { shape: readonly number[] }[] };
      const [count = 0] = header.inputs[0]?.shape ?? [];
      if (count > 4)
        return json(
          { error: `[request id: <id_unknown>] inference request batch-size must be <= 4 for 'm'` },
          400,
        );
      const data = Array.from({ length: 2 * count }, (_, index) => index);
      return json({
        model_name: "m",
        model_version: "1",
        outputs: [{ name: "y", datatype: "FP32", shape: [count, 2], data }],
      });
    },
  };

  it("is ready by its status alone, is sent binary tensors, and may answer in JSON all the same", async () => {
    const server = await foreignServer(triton);
    const app = await deploy(server.url);
    expect(await app.predict([1, 2])).toEqual([0, 1]);
    expect(server.requests.at(-1)).toMatchObject({ contentType: "application/octet-stream" });
  });

  it("gets no larger batch than it takes", async () => {
    const server = await foreignServer(triton);
    const app = await deploy(server.url);
    await app.predictBatch(Array.from({ length: 30 }, () => [1, 2]));
    expect(server.requests.length).toBeGreaterThanOrEqual(8);
  });

  it("with a maximum batch of 0 has no batch axis: a query is the whole tensor", async () => {
    const answers = { ...triton.answers, "GET /v2/models/m/config": json({ name: "m", max_batch_size: 0 }) };
    const server = await foreignServer({ answers: { ...answers, "GET /v2": json({ extensions: [] }) } });
    const app = await deploy(server.url);
    expect(
      await app.predict([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
    ).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(
      await app.predictBatch([
        [[1, 2]],
        [
          [3, 4],
          [5, 6],
        ],
      ]),
    ).toEqual([
      [[1, 2]],
      [
        [3, 4],
        [5, 6],
      ],
    ]);
    expect(server.requests.every(({ text }) => text.includes('"inputs":[{'))).toBe(true);
  });

  it("leaves out the length of the header when its binary part is empty", async () => {
    const outputs = [{ name: "y", datatype: "FP32", shape: [1, 0], parameters: { binary_data_size: 0 } }];
    const tensors = { inputs: VECTORS.inputs, outputs: [{ name: "y", datatype: "FP32", shape: [-1, -1] }] };
    const answers = { ...triton.answers, "GET /v2/models/m": json({ name: "m", ...tensors }) };
    const server = await foreignServer({ answers, infer: () => json({ outputs }) });
    const app = await deploy(server.url);
    expect(await app.predict([1, 2])).toEqual([]);
  });

  it.each([
    ["the model", "GET /v2/models/m/ready"],
    ["the server", "GET /v2/health/ready"],
  ])("says by 400 that %s is still loading, and is waited for", async (_, path) => {
    let asked = 0;
    const loading = (): ReturnType<typeof json> => {
      asked++;
      return asked < 3
        ? json({ error: "Request for unknown model: 'm' is not found" }, 400)
        : { status: 200 };
    };
    const index = json([{ name: "m", version: "1", state: "LOADING" }]);
    const isModel = path.includes("models");
    const metadata = (): ReturnType<typeof json> =>
      isModel && asked < 3 ? json({ error: "?" }, 400) : json({ name: "m", ...VECTORS });
    const server = await foreignServer({
      answers: { [path]: loading, "POST /v2/repository/index": index, "GET /v2/models/m": metadata },
    });
    expect(await (await deploy(server.url)).predict([1, 2])).toEqual([1, 2]);
    expect(asked).toBeGreaterThanOrEqual(3);
  });

  it("that is full sheds with 503: the query is tried once more", async () => {
    let calls = 0;
    const server = await foreignServer({
      infer: () => {
        calls++;
        const outputs = [{ name: "y", datatype: "FP32", shape: [1, 2], data: [7, 8] }];
        return calls === 3 ? json({ error: "Exceeds maximum queue size" }, 503) : json({ outputs });
      },
    });
    const app = await deploy(server.url, { batching: { policy: "none" } });
    calls = 2;
    expect(await app.predict([1, 2])).toEqual([7, 8]);
    expect(calls).toBe(4);
  });
});

describe("MLServer, KServe and TorchServe", () => {
  it.each([
    ["the protocol's", { error: "No such thing" }, "No such thing"],
    ["FastAPI's text", { detail: "Unprocessable" }, "Unprocessable"],
    [
      "FastAPI's list",
      { detail: [{ loc: ["body", "inputs", 0, "data"], msg: "field required", type: "value_error" }] },
      "body.inputs.0.data: field required",
    ],
    [
      "TorchServe's",
      { code: 500, type: "InternalServerException", message: "Prediction failed" },
      "Prediction failed",
    ],
    ["KServe's older", { error: { reason: "bad" } }, '{"reason":"bad"}'],
  ])("refuse in their own shapes: %s", async (_, body, reason) => {
    let isBroken = false;
    const outputs = [{ name: "y", datatype: "FP32", shape: [1, 2], data: [7, 8] }];
    const server = await foreignServer({ infer: () => (isBroken ? json(body, 422) : json({ outputs })) });
    const app = await deploy(server.url);
    isBroken = true;
    const failed = app.predict([1, 2]);
    await expect(failed).rejects.toThrow(ModelError);
    await expect(failed).rejects.toThrow(`failed with status 422: ${reason}`);
  });

  it("write what is not finite as null (KServe)", async () => {
    const body = '{"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[null,2.5]}]}';
    const app = await deploy((await foreignServer({ infer: () => ({ status: 200, body }) })).url);
    expect(await app.predict([1, 2])).toEqual([null, 2.5]);
  });

  it("name codecs of their own as content types, which change nothing here (MLServer)", async () => {
    const numbers = {
      name: "y",
      datatype: "FP32",
      shape: [1, 2],
      parameters: { content_type: "np" },
      data: [1, 2],
    };
    const plain = await deploy((await foreignServer({ infer: () => json({ outputs: [numbers] }) })).url);
    expect(await plain.predict([1, 2])).toEqual([1, 2]);
    const text = {
      name: "y",
      datatype: "BYTES",
      shape: [1],
      parameters: { content_type: "hg_json" },
      data: ["ü"],
    };
    const script = {
      ...echoing("BYTES", [-1]),
      infer: () => json({ outputs: [text], parameters: { content_type: "hg_json" } }),
    };
    expect(await (await deploy((await foreignServer(script)).url)).predict("a")).toBe("ü");
  });

  it("have many models: one that is not ready yet is waited for, though the server is", async () => {
    let asked = 0;
    const server = await foreignServer({
      answers: {
        "GET /v2/models/m/ready": () =>
          ++asked < 3 ? json({ name: "m", ready: false }, 503) : { status: 200 },
      },
    });
    expect(await (await deploy(server.url)).predict([1, 2])).toEqual([1, 2]);
    expect(asked).toBeGreaterThanOrEqual(3);
  });

  it("are ready by the server's word where they have none for a model, or the reverse", async () => {
    const byServer = await foreignServer({
      answers: { "GET /v2/models/m/ready": json({ error: "?" }, 501) },
    });
    expect(await (await deploy(byServer.url)).predict([1, 2])).toEqual([1, 2]);
    const byModel = await foreignServer({ answers: { "GET /v2/health/ready": json({ error: "?" }, 404) } });
    expect(await (await deploy(byModel.url)).predict([1, 2])).toEqual([1, 2]);
  });

  it("declare no tensors at times: the error asks for them, and a contract that is given is taken", async () => {
    const answers = {
      "GET /v2/models/m": json({ name: "m", versions: [], platform: "", inputs: [], outputs: [] }),
    };
    const server = await foreignServer({ answers });
    const failed = deploy(server.url);
    await expect(failed).rejects.toThrow(ContractMismatchError);
    await expect(failed).rejects.toThrow("give them by the option contract");
    const app = await deploy(server.url, { contract: contractOf("FP32") });
    expect(await app.predict([1, 2])).toEqual([1, 2]);
  });

  it("that refuse a whole batch for one row are asked for each row once more, alone", async () => {
    const server = await foreignServer({
      infer: (call) => {
        const { inputs } = JSON.parse(call.text) as { inputs: { shape: number[]; data: number[] }[] };
        const [input] = inputs;
        if (input?.data.includes(666)) return json({ error: "not that number" }, 500);
        return json({ outputs: [{ name: "y", datatype: "FP32", shape: input?.shape, data: input?.data }] });
      },
    });
    const app = await deploy(server.url);
    const answers = await app.predictDetailed([
      [1, 2],
      [666, 0],
      [3, 4],
    ]);
    expect(answers).toMatchObject([
      { output: [1, 2] },
      { error: { code: "MODEL_ERROR" } },
      { output: [3, 4] },
    ]);
    expect(server.requests.filter(({ text }) => text.includes("666")).length).toBeLessThanOrEqual(2);
  });
});

describe("a contract", () => {
  it("that says there is no batch axis sends one query at a time, as it is", async () => {
    const server = await foreignServer();
    const app = await deploy(server.url, {
      contract: {
        inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
        outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
        isBatched: false,
      },
    });
    expect(await app.predictBatch([[[1, 2]], [[3, 4]]])).toEqual([[[1, 2]], [[3, 4]]]);
    for (const { text } of server.requests) expect(text).toContain('"shape":[1,2]');
  });

  it("that does not fit what the server declares is refused, with both", async () => {
    const failed = deploy((await foreignServer()).url, { contract: contractOf("INT32") });
    await expect(failed).rejects.toThrow(ContractMismatchError);
    await expect(failed).rejects.toThrow("expected x INT32 [-1,2]; got x FP32 [-1,2]");
  });

  it("stays with its version: the same deployment again changes nothing", async () => {
    const server = await foreignServer();
    const options = { name: "again", version: "1", url: server.url, modelName: "m" };
    await deployContainer(wj, options);
    expect((await deployContainer(wj, options)).deployment).toMatchObject({ result: "unchanged" });
  });

  it("is known after a restart, also while the server declares none any more", async () => {
    let isMute = false;
    const server = await foreignServer({
      answers: { "GET /v2/models/m": () => json({ name: "m", ...(isMute ? {} : VECTORS) }) },
    });
    const stateDir = await tempFolder();
    const own = { port: 0, adminPort: 0, stateDir };
    const before = await windjammer(own);
    await deployContainer(before, { name: "kept", version: "1", url: server.url, modelName: "m" });
    await before.close();
    isMute = true;
    await using after = await windjammer(own);
    const app = await after.application("kept");
    await expect.poll(() => app.predict([1, 2])).toEqual([1, 2]);
    await after.setVersion("kept", "1");
    expect(await app.predict([3, 4])).toEqual([3, 4]);
  });

  it.each<[ContainerModelOptions["inputType"], string]>([
    ["strings", "expected one input, of BYTES"],
    ["bytes", "expected one input, of BYTES"],
  ])("that no query of the input type fits is refused: %s", async (inputType, message) => {
    const server = await foreignServer();
    const failed = deploy(server.url, { inputType });
    await expect(failed).rejects.toThrow(ContractMismatchError);
    await expect(failed).rejects.toThrow(message);
    expect(await (await deploy(server.url, { inputType: "doubles" })).predict([1, 2])).toEqual([1, 2]);
  });

  it("is checked against the examples once it is known", async () => {
    const server = await foreignServer();
    const events: string[] = [];
    const app = deployContainer(wj, {
      name: "examples",
      version: "1",
      url: server.url,
      modelName: "m",
      examples: [{ input: [1, 2, 3] }],
      onEvent: ({ message }) => events.push(message),
    });
    await expect(app).rejects.toThrow("examples[0].input");
    expect(events.join("\n")).toContain("with the contract that it declares");
  });
});

describe("a server that runs elsewhere", () => {
  it("is called below the path of its URL", async () => {
    const prefixed: ServerScript["answers"] = {
      "GET /team/v2": json({ extensions: [] }),
      "GET /team/v2/health/ready": json({ ready: true }),
      "GET /team/v2/models/m": json({ name: "m", ...VECTORS }),
      "GET /team/v2/models/m/ready": json({ ready: true }),
      "POST /team/v2/models/m/infer": json({
        outputs: [{ name: "y", datatype: "FP32", shape: [1, 2], data: [5, 6] }],
      }),
    };
    const server = await foreignServer({ answers: prefixed });
    expect(await (await deploy(`${server.url}/team/`)).predict([1, 2])).toEqual([5, 6]);
  });

  it("may be several: each is one replica, and gets its share", async () => {
    const servers = [await foreignServer(), await foreignServer()] as const;
    const app = await deploy(servers.map(({ url }) => url));
    const mine = (await wj.replicas()).filter(({ model }) => model === app.name);
    expect(mine.map(({ handle }) => handle).toSorted()).toEqual(servers.map(({ url }) => url).toSorted());
    await Promise.all(Array.from({ length: 200 }, (_, index) => app.predict([index, 0])));
    for (const { requests } of servers) expect(requests.length).toBeGreaterThan(1);
  });

  it("that goes away is missed, and taken up again when it is back", async () => {
    const server = await foreignServer();
    const app = await deploy(server.url);
    await server.stop();
    const state = async (): Promise<string | undefined> =>
      (await wj.replicas()).find(({ model }) => model === app.name)?.state;
    await expect.poll(state).not.toBe("ready");
    await server.restart();
    await expect.poll(() => app.predict([1, 2])).toEqual([1, 2]);
  });

  it("that nobody answers at is an error of the deployment, which names the URL and leaves nothing", async () => {
    const server = await foreignServer();
    await server.stop();
    const failed = deploy(server.url, { readyTimeoutMs: 1500 });
    await expect(failed).rejects.toThrow(ReplicaStartError);
    await expect(failed).rejects.toThrow(`connect ECONNREFUSED ${server.url.slice("http://".length)}`);
  });

  it.each<[string, ServerScript, string]>([
    [
      "that wants to know who calls",
      { answers: { "GET /v2/health/ready": json({ error: "no token" }, 401) } },
      "GET /v2/health/ready answers 401: no token",
    ],
    [
      "that sends callers on",
      {
        answers: {
          "GET /v2/health/ready": { status: 302, headers: { location: "http://127.0.0.1:9/" } },
        },
      },
      "GET /v2/health/ready answers 302: redirects are not followed",
    ],
    [
      "whose model does not come",
      { answers: { "GET /v2/models/m/ready": json({ detail: "still loading" }, 503) } },
      "GET /v2/models/m/ready answers 503: still loading",
    ],
  ])("%s is not ready, and the error says why", async (_, script, why) => {
    const server = await foreignServer(script);
    await expect(deploy(server.url, { readyTimeoutMs: 1500 })).rejects.toThrow(
      `was not ready within 1500 ms (${why})`,
    );
  });

  it("gets the headers it wants from the environment, on every call; the value is nowhere else", async () => {
    vi.stubEnv("WINDJAMMER_SECRET_SPAM", "Bearer hunter2");
    const server = await foreignServer();
    const seen = new Set<unknown>();
    server.server.on("request", ({ headers }) => seen.add(headers.authorization));
    const app = await deploy(server.url, { headersFrom: { authorization: "WINDJAMMER_SECRET_SPAM" } });
    await app.predict([1, 2]);
    expect([...seen]).toEqual(["Bearer hunter2"]);
    const told = [
      await wj.replicas(),
      await wj.models(),
      await wj.versions(app.name),
      await wj.deployments(),
    ];
    expect(JSON.stringify(told)).not.toContain("hunter2");
  });

  it.each([
    ["is not set", ""],
    ["is no single line", "Bearer a\r\nx-evil: 1"],
  ])("is not called while a variable of its headers %s", async (_, value) => {
    vi.stubEnv("WINDJAMMER_SECRET_SPAM", value);
    const server = await foreignServer();
    const failed = deploy(server.url, { headersFrom: { authorization: "WINDJAMMER_SECRET_SPAM" } });
    await expect(failed).rejects.toThrow(ReplicaStartError);
    await expect(failed).rejects.toThrow("needs the header authorization from WINDJAMMER_SECRET_SPAM");
    expect(server.asked).toEqual([]);
  });

  it.each<[string, Partial<ContainerModelOptions>, string]>([
    ["a password in its URL", { url: "http://user:hunter2@127.0.0.1:9" }, "without user, password"],
    ["a query in its URL", { url: "http://127.0.0.1:9/?key=1" }, "without user, password, query"],
    [
      "a variable that is not meant for it",
      { headersFrom: { authorization: "AWS_SECRET_ACCESS_KEY" } },
      "WINDJAMMER_SECRET_",
    ],
    [
      "a header that says what the message is",
      { headersFrom: { "content-length": "WINDJAMMER_SECRET_A" } },
      "expected the name of a header",
    ],
  ])("is refused with %s", async (_, options, message) => {
    const failed = deploy("http://127.0.0.1:9", options);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.not.toThrow("hunter2");
  });

  it("with a certificate that nobody has signed is refused, and the error says where to name its authority", async () => {
    const { key, cert } = await selfSigned();
    const server = createServer({ key, cert }, (_, response) => response.end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const failed = deploy(`https://127.0.0.1:${port}`, { readyTimeoutMs: 1500 });
    await expect(failed).rejects.toThrow("NODE_EXTRA_CA_CERTS");
  });
});

function listing(...names: readonly string[]): NonNullable<ServerScript["answers"]> {
  return { "POST /v2/repository/index": json(names.map((name) => ({ name, version: "1", state: "READY" }))) };
}

describe("a server with another name for the model", () => {
  const unknown = json({ error: "Request for unknown model: 'm' is not found" }, 400);

  it("is asked by that, when it has one model only; the name stays with the version", async () => {
    const server = await foreignServer({ model: "real", answers: listing("real") });
    const app = await deploy(server.url, { modelName: undefined });
    expect(await app.predict([1, 2])).toEqual([1, 2]);
    expect((await wj.versions(app.name))[0]?.manifest.container).toMatchObject({ modelName: "real" });
    expect(server.requests.map(({ path }) => path)).toContain("/v2/models/real/infer");
  });

  it.each<[string, NonNullable<ServerScript["answers"]>]>([
    ["Triton and MLServer", { ...listing("spam", "eggs"), "GET /v2/models/m/ready": unknown }],
    ["KServe", { "GET /v2/models": json({ models: ["spam", "eggs"] }) }],
  ])("names those that it has, at once: %s", async (_, answers) => {
    const server = await foreignServer({ model: "spam", answers });
    const failed = deploy(server.url, { readyTimeoutMs: 60_000 });
    await expect(failed).rejects.toThrow("it has no model m, but spam, eggs");
  });
});

describe("an answer without end", () => {
  it("is cut off by its length, and the server is asked again for the next query", async () => {
    const server = await foreignServer();
    const app = await deploy(server.url, { isRetryable: false });
    const answer = server.server.listeners("request")[0] as RequestListener;
    server.server.removeAllListeners("request");
    server.server.on("request", (request, response) => {
      if (request.method === "GET") return answer(request, response);
      response.writeHead(200, { "content-length": String(2 ** 33) });
      response.write("{");
      return undefined;
    });
    await expect(app.predict([1, 2])).rejects.toThrow("longer than 1 GiB");
    server.server.removeAllListeners("request");
    server.server.on("request", answer);
    expect(await app.predict([1, 2])).toEqual([1, 2]);
  });
});
