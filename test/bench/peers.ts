// Part "peers": other products that serve the same ONNX MLP, one after the other, against ours and the bare echo.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deployOnnxModel } from "windjammer";
import { Connection } from "./connection.ts";
import { type Effort, interleaved, type Plain, startLab } from "./lab.ts";
import { type OnnxModels, PIXELS } from "./onnx-models.ts";
import type { Peer } from "./peer-option.ts";
import { installPeer, PEER_SERVERS, startPeer } from "./peer-servers.ts";
import { sharedOnceMb } from "./processes.ts";
import { firstNumberQueries, type KnownWorkload, rowQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { CLIPPER, type Shape } from "./shapes.ts";
import { type Figure, figureOf, ratioOf } from "./statistics.ts";

const MODEL = "mlp";
const MANY = 64;

export interface PeersParts {
  readonly echo: Plain;
  readonly models: OnnxModels;
  /** Servers that run already. */
  readonly others: readonly Peer[];
  readonly effort: Effort;
}

/** A server that serves the MLP. */
interface Running extends AsyncDisposable {
  readonly url: string;
  readonly form: Shape;
  /** The end of what it said, once it has ended. */
  readonly lastWords?: () => string | undefined;
  /** Undefined where they are not ours to know. */
  readonly pids: (() => Promise<readonly number[]>) | undefined;
}

interface Candidate {
  readonly name: string;
  readonly start: () => Promise<Running>;
}

/** What is compared, in the order of the columns; cells that were not measured are undefined. */
interface Figures {
  readonly rate: Figure;
  readonly cpu: Figure | undefined;
  readonly p50Ms: Figure;
  readonly memoryMb: number | undefined;
  readonly startMs: number | undefined;
}

export async function measurePeers(parts: PeersParts): Promise<Table> {
  const folder = await mkdtemp(join(tmpdir(), "windjammer-bench-peers-"));
  try {
    await prepareOurs(folder, parts.models);
    const [ours, ...others] = await candidates(folder, parts);
    const own = await measure(ours, parts, undefined);
    const rows: Table["rows"][number][] = [[ours.name, ...cells(own.figures), "–", "–"]];
    for (const other of others) {
      const cellsOf = async (): Promise<Table["rows"][number]> => {
        const { figures } = await measure(other, parts, own.answers);
        const ahead = aheadIn(figures, own.figures);
        return [other.name, ...cells(figures), ahead.length, ahead.join(", ") || "–"];
      };
      rows.push(await cellsOf().catch((error: unknown) => [other.name, `not measured: ${String(error)}`]));
    }
    return table(rows);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function table(rows: Table["rows"]): Table {
  return {
    part: "peers",
    yardstick: `Yardstick: a bare node:http server that parses the same body, asked in turn with each. ONNX MLP 784-256-256-10, one row of ${PIXELS} numbers a request, one replica, one thread of onnxruntime; every reply is held against what we answer. CPU and memory are of all processes of a server, memory after load, pages that they share counted once; start is to the first right answer.`,
    columns: [
      "server",
      `rate ÷ echo, ${MANY} callers`,
      `all CPU ÷ echo, ${MANY} callers`,
      "p50 ms, one caller",
      "memory MiB",
      "start ms",
      "cells ahead of us",
      "which",
    ],
    rows,
  };
}

function cells({ rate, cpu, p50Ms, memoryMb: mb, startMs }: Figures): Table["rows"][number] {
  return [rate, cpu ?? "–", p50Ms, mb ?? "–", startMs ?? "–"];
}

function isLess(one: number | undefined, other: number | undefined): boolean {
  return one !== undefined && other !== undefined && one < other;
}

/** Cells in which a server is better than ours. */
function aheadIn(theirs: Figures, ours: Figures): readonly string[] {
  const ahead = {
    rate: isLess(ours.rate.median, theirs.rate.median),
    CPU: isLess(theirs.cpu?.median, ours.cpu?.median),
    p50: isLess(theirs.p50Ms.median, ours.p50Ms.median),
    memory: isLess(theirs.memoryMb, ours.memoryMb),
    start: isLess(theirs.startMs, ours.startMs),
  };
  return Object.entries(ahead).flatMap(([name, isAhead]) => (isAhead ? [name] : []));
}

async function candidates(
  stateDir: string,
  { models, others }: PeersParts,
): Promise<[Candidate, ...Candidate[]]> {
  const servers = [];
  for (const peer of PEER_SERVERS) servers.push({ peer, python: await installPeer(peer) });
  return [
    { name: "windjammer", start: () => startOurs(stateDir) },
    ...servers.map(({ peer, python }) => ({
      name: peer.name,
      start: async () => {
        return { ...(await startPeer(peer, python, models.mlp)), form: CLIPPER };
      },
    })),
    ...others.map(({ name, url, form }) => ({
      name,
      start: async () => ({ url, form, pids: undefined, [Symbol.asyncDispose]: () => Promise.resolve() }),
    })),
  ];
}

/** Deploys once; what is timed is a server that comes back with its model, as the peers do. */
async function prepareOurs(stateDir: string, { mlp }: OnnxModels): Promise<void> {
  await using lab = await startLab({ stateDir });
  await deployOnnxModel(lab.client, { name: MODEL, version: "1", model: mlp, inputType: "floats" });
}

async function startOurs(stateDir: string): Promise<Running> {
  const lab = await startLab({ stateDir });
  return {
    url: lab.urlOf(MODEL),
    form: CLIPPER,
    pids: () => lab.pidsOf(MODEL),
    [Symbol.asyncDispose]: () => lab.close(),
  };
}

interface Measured {
  readonly figures: Figures;
  readonly answers: KnownWorkload["answers"];
}

async function measure(
  { start }: Candidate,
  { echo, effort }: PeersParts,
  answers: KnownWorkload["answers"] | undefined,
): Promise<Measured> {
  const startedAt = performance.now();
  await using server = await start();
  const { url, form } = server;
  await firstAnswer(server);
  const startMs = performance.now() - startedAt;
  const known = answers === undefined ? {} : { answers };
  const workload = await rowQueries({ url, shape: [PIXELS], form, ...known });
  const pids = (await server.pids?.()) ?? [];
  const targets = [
    { workload: firstNumberQueries(echo.url, PIXELS), pids: echo.pids },
    { workload, pids },
  ];
  const [bare = [], many = []] = await interleaved(targets, MANY, effort);
  const [, one = []] = await interleaved(targets, 1, effort);
  const isKnown = pids.length > 0;
  return {
    answers: workload.answers,
    figures: {
      rate: ratioOf(many, bare, (sample) => sample.perSecond),
      cpu: isKnown ? ratioOf(many, bare, (sample) => sample.allCpuUs) : undefined,
      p50Ms: figureOf(one, (sample) => sample.p50Ms),
      memoryMb: isKnown ? await sharedOnceMb(pids) : undefined,
      startMs: isKnown ? startMs : undefined,
    },
  };
}

/** Ray takes 20 s on two cores that have little else to do. */
const PATIENCE_MS = 120_000;

async function firstAnswer({ url, form, lastWords }: Running): Promise<void> {
  const request = form.request(
    url,
    Array.from({ length: PIXELS }, () => 0.5),
  );
  const until = performance.now() + PATIENCE_MS;
  for (let isReady = false; !isReady;) {
    const connection = new Connection(url);
    isReady = await connection.ask(request).then(
      ({ status }) => status === 200,
      () => false,
    );
    connection.close();
    const words = lastWords?.();
    if (words !== undefined) throw new Error(`the server at ${url} ended before it answered: ${words}`);
    if (performance.now() > until) throw new Error(`${url} did not answer within ${PATIENCE_MS} ms`);
    if (!isReady) await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
