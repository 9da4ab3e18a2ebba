// The named checks of a model container: what each sends, what it expects, and how it judges what came.
import { setTimeout as delay } from "node:timers/promises";
import {
  PATHS,
  type Contract,
  type JsonValue,
  type Manifest,
  type TensorSpec,
} from "../../containers/protocol.ts";
import { BatchCodec, type BatchReply } from "../query/batch-body.ts";
import { outputJson } from "../query/outputs.ts";
import { elementCount } from "../../containers/tensors.ts";
import { findDifference } from "../deploy/difference.ts";
import type { InferCall, InferReply, ReplicaTransport } from "../replicas/transport.ts";
import type { RunningReplica } from "../runtimes/runtime.ts";
import { refusalReason } from "../replicas/refusal.ts";
import { binaryCall, jsonCall, rawCall, sampleTensors, send, statusText } from "./sample.ts";
import type { CheckOutcome } from "./report.ts";

const PROBE_TIMEOUT_MS = 5_000;
/** Largest allowed |got - expected| / max(1, |expected|) between answers that should be equal. */
const TOLERANCE = 1e-4;
const LARGE_BATCH = 64;
const PARALLEL_CALLS = 16;
const WARM_UP_CALLS = 200;
/** Memory may grow by this over the calls: heaps breathe. */
const MAX_GROWTH = 0.2;
const MAX_GROWTH_BYTES = 16 * 2 ** 20;
const STOP_GRACE_MS = 10_000;
/** A call is in the server by then, mostly, and on a machine that is busy by the other. */
const ARRIVAL_MS = 50;
const LONGEST_ARRIVAL_MS = 2_000;

/** A container that is ready, and what is known of it. */
export interface Subject {
  readonly running: RunningReplica;
  readonly transport: ReplicaTransport;
  /** One more connection to it. */
  readonly connect: () => ReplicaTransport;
  readonly manifest: Manifest;
  /** undefined: it declares none. */
  readonly contract: Contract | undefined;
  readonly isBinary: boolean;
  readonly path: string;
  /** It runs elsewhere: nobody here stops it, or sees its memory. */
  readonly isElsewhere: boolean;
  readonly calls: number;
}

export interface Verdict {
  readonly outcome: CheckOutcome;
  readonly got: string;
}

export interface Check {
  readonly name: string;
  readonly expected: string;
  readonly run: (subject: Subject) => Promise<Verdict>;
}

const ok = (got: string): Verdict => ({ outcome: "ok", got });
const fail = (got: string): Verdict => ({ outcome: "fail", got });
const warn = (got: string): Verdict => ({ outcome: "warn", got });
const skip = (got: string): Verdict => ({ outcome: "skip", got });

/** What a call's reply says for each of `count` rows. @throws Error saying what is wrong with it */
function answersIn(subject: Subject, reply: InferReply, count: number): readonly JsonValue[] {
  const { manifest, running } = subject;
  const decoded: BatchReply = new BatchCodec(manifest, running.model, running.version).decode(reply, count);
  if (decoded.kind === "failed") throw decoded.error;
  const failed = decoded.errors?.find((error) => error !== undefined);
  if (failed !== undefined) throw failed;
  return Array.from(
    { length: count },
    (_, index) => JSON.parse(outputJson(manifest, decoded.outputs, index)) as JsonValue,
  );
}

function callOf(subject: Subject, numbers: readonly number[]): InferCall {
  const tensors = sampleTensors(contractOf(subject), numbers);
  return subject.isBinary ? binaryCall(subject.path, tensors) : jsonCall(subject.path, tensors);
}

function contractOf({ contract }: Subject): Contract {
  if (contract === undefined) throw new Error("it declares no inputs");
  return contract;
}

/** A tensor that JSON cannot hold. */
function halfOf(subject: Subject): TensorSpec | undefined {
  const { inputs, outputs } = contractOf(subject);
  return [...inputs, ...outputs].find(({ datatype }) => datatype === "FP16" || datatype === "BF16");
}

/** The answers to some rows in one call. */
async function ask(
  subject: Subject,
  numbers: readonly number[],
  transport: ReplicaTransport = subject.transport,
): Promise<readonly JsonValue[]> {
  return answersIn(subject, await send(transport, callOf(subject, numbers)), numbers.length);
}

function shown(value: JsonValue | undefined): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}

async function isStillThere({ transport }: Subject): Promise<boolean> {
  try {
    return (await transport.get(PATHS.ready, PROBE_TIMEOUT_MS)).statusCode < 500;
  } catch {
    return false;
  }
}

/** A request that is wrong: 4xx is right, 5xx blames the server, 200 hides the mistake. */
async function judgeRefusal(subject: Subject, calls: readonly InferCall[]): Promise<Verdict> {
  const replies: string[] = [];
  let worst: CheckOutcome = "ok";
  for (const call of calls) {
    const reply = await send(subject.transport, call).catch((error: Error) => error);
    if (reply instanceof Error) {
      replies.push(`no answer (${reply.message})`);
      worst = "fail";
      continue;
    }
    const { statusCode, body } = reply;
    const reason =
      statusCode === 200 ? "" : `: ${refusalReason(Buffer.from(body).toString("utf8")).slice(0, 120)}`;
    replies.push(`${statusCode}${reason}`);
    if ((statusCode < 400 || statusCode >= 500) && worst === "ok") worst = "warn";
  }
  if (!(await isStillThere(subject))) return fail(`${replies.join("; ")}; and it is not there any more`);
  return { outcome: worst, got: replies.join("; ") };
}

const metadata: Check = {
  name: "metadata",
  expected:
    "GET /v2/models/{name} with inputs and outputs: name, datatype, shape with -1 in front for the batch",
  run({ contract }) {
    if (contract === undefined)
      return Promise.resolve(warn("no inputs and outputs: they have to be given at every deployment"));
    const text = (side: "inputs" | "outputs"): string =>
      contract[side]
        .map(
          ({ name, datatype, shape }) =>
            `${name} ${datatype} [${(contract.isBatched ? [-1, ...shape] : shape).join(",")}]`,
        )
        .join(", ");
    return Promise.resolve(ok(`${text("inputs")} → ${text("outputs")}`));
  },
};

const live: Check = {
  name: "live",
  expected: "GET /v2/health/live with status 200",
  async run({ transport }) {
    const { statusCode } = await transport.get(PATHS.live, PROBE_TIMEOUT_MS);
    return statusCode === 200 ? ok("status 200") : warn(`status ${statusCode}`);
  },
};

const inferJson: Check = {
  name: "infer JSON",
  expected: "status 200 with the declared outputs in JSON",
  async run(subject) {
    const half = halfOf(subject);
    if (half !== undefined) return skip(`JSON has no ${half.datatype} (${half.name}): it travels in binary`);
    const reply = await send(
      subject.transport,
      jsonCall(subject.path, sampleTensors(contractOf(subject), [1])),
    );
    if (reply.statusCode !== 200) return fail(statusText(reply));
    return ok(shown(answersIn(subject, reply, 1)[0]));
  },
};

const inferBinary: Check = {
  name: "infer binary",
  expected: "the same answer by the binary tensor extension",
  async run(subject) {
    if (!subject.isBinary)
      return skip("GET /v2 does not announce binary_tensor_data: tensors travel as JSON, which costs more");
    const tensors = sampleTensors(contractOf(subject), [1]);
    const reply = await send(subject.transport, binaryCall(subject.path, tensors));
    if (reply.statusCode !== 200) return fail(statusText(reply));
    const [got = null] = answersIn(subject, reply, 1);
    if (halfOf(subject) !== undefined) return ok(shown(got));
    const json = await send(subject.transport, jsonCall(subject.path, tensors));
    if (json.statusCode !== 200) return ok(shown(got));
    const [wanted = null] = answersIn(subject, json, 1);
    const difference = findDifference(wanted, got, TOLERANCE);
    if (difference !== undefined) return fail(`${shown(got)}, but as JSON ${shown(wanted)}`);
    return reply.headerLength === undefined
      ? warn(`${shown(got)}, in JSON though binary was asked for`)
      : ok(shown(got));
  },
};

const batchOfOne: Check = {
  name: "batch of 1",
  expected: "one answer for one row",
  async run(subject) {
    const answers = await ask(subject, [3]);
    return answers.length === 1 ? ok(shown(answers[0])) : fail(`${answers.length} answers`);
  },
};

const largeBatch: Check = {
  name: `batch of ${LARGE_BATCH}`,
  expected: "each row answered in its place, as it is alone",
  async run(subject) {
    const { isBatched, maxBatchSize = LARGE_BATCH } = contractOf(subject);
    if (!isBatched) return skip("its tensors have no batch axis: rows go to it one by one");
    const size = Math.min(LARGE_BATCH, maxBatchSize);
    const numbers = Array.from({ length: size }, (_, index) => index);
    const answers = await ask(subject, numbers);
    for (const number of new Set([0, 1, Math.floor(size / 2), size - 1])) {
      const [alone = null] = await ask(subject, [number]);
      const got = answers[number] ?? null;
      if (findDifference(alone, got, TOLERANCE) !== undefined)
        return fail(`row ${number} is ${shown(got)} in the batch, and ${shown(alone)} alone`);
    }
    return ok(`${size} answers, equal to those of the rows alone`);
  },
};

const wrongShape: Check = {
  name: "wrong shape",
  expected: "status 400 with the reason, and the server goes on",
  run(subject) {
    const inputs = sampleTensors(contractOf(subject), [1]).map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: [...shape, 3],
      data: [1],
    }));
    return judgeRefusal(subject, [rawCall(subject.path, JSON.stringify({ inputs }))]);
  },
};

const wrongType: Check = {
  name: "wrong type",
  expected: "status 400 with the reason, and the server goes on",
  run(subject) {
    const inputs = sampleTensors(contractOf(subject), [1]).map(({ name, datatype, shape }) => {
      const isText = datatype === "BYTES";
      const count = elementCount(shape);
      return {
        name,
        datatype: isText ? "FP32" : "BYTES",
        shape,
        data: Array.from({ length: count }, () => (isText ? 1 : "no number")),
      };
    });
    return judgeRefusal(subject, [rawCall(subject.path, JSON.stringify({ inputs }))]);
  },
};

const garbage: Check = {
  name: "garbage",
  expected: "status 400 to what is no inference request, and the server goes on",
  run(subject) {
    return judgeRefusal(subject, [
      rawCall(subject.path, '{"inputs":[{"name":'),
      rawCall(subject.path, "{}"),
      rawCall(subject.path, "\u0000\u0001\u0002 no JSON at all"),
      ...(subject.isBinary ? [rawCall(subject.path, "{}", 1_000)] : []),
    ]);
  },
};

const parallel: Check = {
  name: "parallel calls",
  expected: `${PARALLEL_CALLS} calls at a time, each with its own answer`,
  async run(subject) {
    const transports = Array.from({ length: PARALLEL_CALLS }, () => subject.connect());
    try {
      await Promise.all(transports.map((transport) => transport.get(PATHS.ready, PROBE_TIMEOUT_MS)));
      const answers = await Promise.all(
        transports.map((transport, index) => ask(subject, [index], transport)),
      );
      for (const [index, [got = null]] of answers.entries()) {
        const [alone = null] = await ask(subject, [index]);
        if (findDifference(alone, got, TOLERANCE) !== undefined)
          return fail(`call ${index} got ${shown(got)}, and ${shown(alone)} alone`);
      }
      return ok("all of them, with their own answers");
    } finally {
      await Promise.all(transports.map((transport) => transport.close()));
    }
  },
};

const memory: Check = {
  name: "memory",
  expected: `no more memory after many calls: at most ${MAX_GROWTH * 100} % and ${MAX_GROWTH_BYTES / 2 ** 20} MiB over what it was when warm`,
  async run(subject) {
    if (subject.isElsewhere) return skip("it runs elsewhere; nobody here sees its memory");
    for (let call = 0; call < WARM_UP_CALLS; call++) await ask(subject, [call]);
    const before = (await subject.running.stats()).memoryBytes;
    for (let call = 0; call < subject.calls; call++) await ask(subject, [call]);
    const after = (await subject.running.stats()).memoryBytes;
    const text = `${mebibytes(before)} → ${mebibytes(after)} MiB after ${subject.calls} calls`;
    return after > before * (1 + MAX_GROWTH) + MAX_GROWTH_BYTES ? fail(text) : ok(text);
  },
};

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

const drain: Check = {
  name: "drain on SIGTERM",
  expected: `calls that have arrived are answered, and it ends with code 0 within ${STOP_GRACE_MS / 1000} s`,
  async run(subject) {
    if (subject.isElsewhere) return skip("it runs elsewhere; nobody here stops it");
    const { isBatched, maxBatchSize = LARGE_BATCH } = contractOf(subject);
    const numbers = Array.from(
      { length: isBatched ? Math.min(LARGE_BATCH, maxBatchSize) : 1 },
      (_, index) => index,
    );
    // What the answer says is the matter of other checks.
    const call = send(subject.transport, callOf(subject, numbers)).then(
      () => "answered",
      (error: Error) => `lost (${error.message})`,
    );
    // What came behind the call is answered once the call is here, unless the server computes on the thread that answers.
    const behind = subject.transport.get(PATHS.ready, PROBE_TIMEOUT_MS).catch(() => undefined);
    await Promise.race([
      Promise.all([behind, delay(ARRIVAL_MS)]),
      call,
      delay(LONGEST_ARRIVAL_MS, undefined, { ref: false }),
    ]);
    const startedAt = performance.now();
    await subject.running.stop(STOP_GRACE_MS);
    const tookMs = Math.round(performance.now() - startedAt);
    const { exitCode, signal } = await subject.running.exited;
    const fate = await call;
    const end = exitCode === undefined ? `ended by ${signal ?? "no signal"}` : `ended with code ${exitCode}`;
    const text = `the call was ${fate}; ${end} after ${tookMs} ms`;
    if (fate !== "answered" || signal === "SIGKILL" || exitCode === 137) return fail(text);
    return exitCode === 0 ? ok(text) : warn(text);
  },
};

/** A container that fails it fails these, too. */
export const BASIC_CHECK: string = batchOfOne.name;
export const NEED_ANSWERS: ReadonlySet<string> = new Set(
  [largeBatch, parallel, memory].map(({ name }) => name),
);

/** In the order in which they run; the last one ends the container. */
export const CHECKS: readonly Check[] = [
  live,
  metadata,
  inferJson,
  inferBinary,
  batchOfOne,
  largeBatch,
  wrongShape,
  wrongType,
  garbage,
  parallel,
  memory,
  drain,
];
