// Servers elsewhere that hold several batches at once: how many, over which connections, and until when.
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import {
  deployContainer,
  deployFunction,
  windjammer,
  type ContainerModelOptions,
  type DeployedApplication,
  type DeployOptions,
  type JsonValue,
  type Windjammer,
} from "../../../deployers/index.ts";
import { foreignServer, json, type ForeignServer } from "../../helpers/foreign-servers.ts";

let wj: Windjammer;
let deployedCount = 0;

beforeAll(async () => {
  wj = await windjammer({ port: 0, adminPort: 0 });
});

afterAll(() => wj.close());

interface Held extends ForeignServer {
  /** Calls that are not answered yet. */
  readonly held: (() => void)[];
  /** Over which calls came since. */
  readonly sockets: Set<Socket>;
  /** From now on: what a deployment asks is answered at once. */
  hold(): void;
}

/** Echoes one vector a call, from `hold` on when it is let go. */
async function holding(): Promise<Held> {
  const held: (() => void)[] = [];
  const sockets = new Set<Socket>();
  let isHolding = false;
  const foreign = await foreignServer({
    async infer({ text }) {
      if (isHolding) await new Promise<void>((resolve) => held.push(resolve));
      const { inputs } = JSON.parse(text) as { inputs: [{ shape: number[]; data: number[] }] };
      const [{ shape, data }] = inputs;
      return json({ outputs: [{ name: "y", datatype: "FP32", shape, data }] });
    },
  });
  foreign.server.on("request", ({ method, socket }) => {
    if (isHolding && method === "POST") sockets.add(socket);
  });
  const hold = (): void => {
    isHolding = true;
    foreign.requests.length = 0;
  };
  return { ...foreign, held, sockets, hold };
}

function deploy(
  url: ContainerModelOptions["url"],
  options: Partial<ContainerModelOptions & DeployOptions> = {},
): Promise<DeployedApplication> {
  return deployContainer<JsonValue>(wj, {
    name: `held-${++deployedCount}`,
    version: "1",
    url,
    modelName: "m",
    batching: { policy: "none" },
    ...options,
  });
}

function askAll(app: DeployedApplication, count: number): Promise<unknown[]> {
  const predict = (_: unknown, at: number): Promise<unknown> => app.predict([at, at]);
  return Promise.all(Array.from({ length: count }, predict));
}

const vectors = (count: number): number[][] => Array.from({ length: count }, (_, at) => [at, at]);

it.each([
  { options: {}, most: 2 },
  { options: { maxInFlight: 1 }, most: 1 },
  { options: { maxInFlight: 5 }, most: 5 },
])(
  "a server elsewhere gets $most batches at once with $options, each on a connection of its own",
  async (wanted) => {
    const { options, most } = wanted;
    const server = await holding();
    const app = await deploy(server.url, options);
    server.hold();
    const answers = askAll(app, 7);
    const sizes: number[] = [];
    for (let left = 7; left > 0; left -= most) {
      await expect.poll(() => server.held.length).toBe(Math.min(most, left));
      sizes.push(server.held.length);
      // The last of them may still be on their way to the server when the first are held.
      if (sizes.length === 1)
        await expect
          .poll(async () => (await wj.version(app.name, "1")).running)
          .toMatchObject({ inFlight: most, maxInFlight: most, queueLength: 7 - most });
      for (const go of server.held.splice(0).toReversed()) go();
    }
    expect(await answers).toEqual(vectors(7));
    expect([Math.max(...sizes), server.requests.length, server.sockets.size]).toEqual([most, 7, most]);
  },
);

it("one that closes its kept connections loses no query of several", async () => {
  const server = await holding();
  const app = await deploy(server.url, { maxInFlight: 3, isRetryable: true });
  server.hold();
  for (let round = 0; round < 3; round++) {
    const answers = askAll(app, 3);
    await expect.poll(() => server.held.length).toBe(3);
    for (const go of server.held.splice(0)) go();
    expect(await answers).toEqual(vectors(3));
    server.server.closeAllConnections();
  }
  const [replica] = (await wj.version(app.name, "1")).running?.replicas ?? [];
  expect(replica).toMatchObject({ state: "ready", restarts: 0 });
});

it("one that is scaled away answers all it holds first, also where nothing may be computed twice", async () => {
  const servers = [await holding(), await holding()];
  const app = await deploy(
    servers.map(({ url }) => url),
    { maxInFlight: 2, isRetryable: false },
  );
  for (const server of servers) server.hold();
  const heldCount = (): number[] => servers.map(({ held }) => held.length);
  const answers = askAll(app, 4);
  await expect.poll(heldCount).toEqual([2, 2]);
  const scaled = wj.scale(app.name, 1);
  await expect.poll(async () => (await wj.version(app.name, "1")).running?.readyCount).toBe(1);
  for (const { held } of servers) for (const go of held.splice(0)) go();
  await scaled;
  expect(await answers).toEqual(vectors(4));
});

it.each([0, 1.5, 257, "4"])("maxInFlight %j is refused", async (value) => {
  const { url } = await holding();
  const refused = deploy(url, { maxInFlight: value as number });
  await expect(refused).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringContaining("maxInFlight"),
  });
});

it("a container of ours takes one, and says so; a new version of it cannot change its number while it serves", async () => {
  const refused = deployFunction(wj, {
    name: "double",
    version: "1",
    fn: (inputs: unknown[]) => inputs,
    inputType: "json",
    maxInFlight: 4,
  });
  await expect(refused).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringMatching(/^maxInFlight: expected 1 for model double version 1, .* got 4; /),
  });
  const { url } = await holding();
  const name = `held-${deployedCount + 1}`;
  await deploy(url);
  const changed = deployContainer(wj, {
    name,
    version: "1",
    url,
    modelName: "m",
    batching: { policy: "none" },
    maxInFlight: 3,
  });
  await expect(changed).rejects.toMatchObject({
    code: "INVALID_REQUEST",
    message: expect.stringContaining("another maxInFlight"),
  });
});

it("one that does not read its calls holds up as many queries as may wait, whatever comes: the rest is refused at once", async () => {
  const small = await windjammer({ port: 0, adminPort: 0, maxQueueLength: 8 });
  onTestFinished(() => small.close());
  const width = 50_000;
  const declared = { datatype: "FP32", shape: [-1, width] };
  const unread: { answer: () => void }[] = [];
  const server = createServer((request, response) => {
    const { url = "", method } = request;
    const tensors = {
      inputs: [{ name: "x", ...declared }],
      outputs: [{ name: "y", ...declared }],
    };
    if (method === "GET") {
      response.end(
        JSON.stringify(
          url.includes("/models/") ? { name: "m", ready: true, ...tensors } : { ready: true, extensions: [] },
        ),
      );
      return;
    }
    const answer = (): void => {
      request.resume();
      const data = Array.from({ length: width }, () => 0);
      request.on("end", () =>
        response.end(JSON.stringify({ outputs: [{ name: "y", datatype: "FP32", shape: [1, width], data }] })),
      );
    };
    // What comes over this socket stays in it until somebody asks for it.
    if (isReading) answer();
    else unread.push({ answer });
  });
  let isReading = true;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const options = { name: "deaf", version: "1", url: `http://127.0.0.1:${port}`, modelName: "m" };
  const app = await deployContainer<JsonValue>(small, { ...options, batching: { policy: "none" } });
  isReading = false;
  const row = Array.from({ length: width }, () => 1);
  const outcomes: string[] = [];
  const ask = async (): Promise<void> => {
    const outcome = await app.predict(row).then(
      () => "answered",
      (error: { readonly code: string }) => error.code,
    );
    outcomes.push(outcome);
  };
  const all = Promise.all(Array.from({ length: 60 }, ask));
  // Two at the server, eight that wait.
  await expect.poll(() => outcomes.length).toBe(50);
  expect(new Set(outcomes)).toEqual(new Set(["OVERLOADED"]));
  expect((await small.version("deaf", "1")).running).toMatchObject({ inFlight: 2, queueLength: 8 });
  isReading = true;
  for (const { answer } of unread.splice(0)) answer();
  await all;
  expect(outcomes.filter((outcome) => outcome === "answered")).toHaveLength(10);
});
