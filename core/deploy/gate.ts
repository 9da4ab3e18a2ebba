// The publish gate: a new version answers its examples, or a made-up input, before any caller's query reaches it.
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonValue, Manifest } from "../../containers/protocol.ts";
import {
  GateFailedError,
  InvalidInputError,
  InvalidModelOutputError,
  ModelError,
  toWindjammerError,
  WindjammerError,
} from "../errors.ts";
import type { Row, Settlement } from "../query/query.ts";
import { outputJson } from "../query/outputs.ts";
import { decodeInput } from "../query/rows.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Example, VersionSettings } from "../types.ts";
import { findDifference, type Difference } from "./difference.ts";
import type { Remark } from "./journal.ts";
import { madeUpInputs, type MadeUpInput } from "./made-up-input.ts";

/** Examples in flight at a time, when they are sent together. */
const TOGETHER = 16;
/** Of three sent together the first may go out alone; the other two then share a batch. */
const FEWEST_TOGETHER = 3;
const LOG_LINES = 20;
/** Log lines take another way than replies, and may arrive a little later. */
const LOG_DELAY_MS = 100;
const MAX_SHOWN_CHARACTERS = 120;

export interface GateRun {
  readonly served: Pick<ServedVersion, "version" | "enqueue" | "replicas" | "logs">;
  readonly settings: Pick<VersionSettings, "examples" | "tolerance">;
  readonly signal: AbortSignal;
  readonly say: (remark: Remark) => Promise<void>;
}

/**
 * Runs the examples: each alone, so that a failure names its example, then together, so that batches are tried too.
 * Without examples a made-up input is sent, of each task one; a model may refuse that one with an error, which becomes a
 * warning. None is sent to a model that has a state: it is to start with the state that it was deployed with.
 * @throws GateFailedError naming the example and the difference
 */
export async function runGate(run: GateRun): Promise<void> {
  if (run.settings.examples.length > 0) await runExamples(run);
  else if (run.served.version.manifest.isStateful === true)
    await run.say({ step: "gate", message: STATEFUL });
  else for (const made of madeUpInputs(run.served.version.manifest)) await tryMadeUpInput(run, made);
}

const STATEFUL =
  "no examples given, and calls with made-up inputs would change the state that the model starts with; only the start was checked";

/** The examples as rows. @throws InvalidInputError naming the example that does not fit the contract */
export function decodeExamples(manifest: Manifest, examples: readonly Example[]): readonly Row[] {
  return examples.map((example, index) => decodeInput(manifest, example.input, `examples[${index}].input`));
}

async function runExamples(run: GateRun): Promise<void> {
  const { examples } = run.settings;
  const startedAt = performance.now();
  const expecting = examples.filter((example) => example.output !== undefined).length;
  const noun = examples.length === 1 ? "1 example" : `${examples.length} examples`;
  await run.say({ step: "gate", message: `running ${noun}, ${expecting} with an expected output` });
  const cases = decodeExamples(run.served.version.manifest, examples).map((row, index) => ({ row, index }));
  for (const example of cases)
    await judge(run, await ask(run, example.row), { index: example.index, how: "" });
  const all = Array.from({ length: Math.ceil(FEWEST_TOGETHER / cases.length) }, () => cases).flat();
  for (let at = 0; at < all.length; at += TOGETHER) {
    const settled = all
      .slice(at, at + TOGETHER)
      .map(async ({ row, index }) => ({ index, answer: await ask(run, row) }));
    for (const { index, answer } of await Promise.all(settled)) {
      await judge(run, answer, { index, how: " sent together with others" });
    }
  }
  const tookMs = Math.round(performance.now() - startedAt);
  const message = `${noun} answered${expecting > 0 ? " as expected" : ""}, alone and together, in ${tookMs} ms`;
  await run.say({ step: "gate", message, details: { examples: examples.length, expecting, tookMs } });
}

async function tryMadeUpInput(run: GateRun, { value, text }: MadeUpInput): Promise<void> {
  const row = rowOf(run.served.version.manifest, value);
  if (row === undefined) {
    const message =
      "no examples given, and no input can be made up for this contract; only the start was checked";
    await run.say({ step: "gate", level: "warning", message });
    return;
  }
  await run.say({ step: "gate", message: `no examples given; trying ${text}` });
  const alone = (await ask(run, row)).error;
  if (alone !== undefined && !isRefusal(alone)) {
    throw await failure(run, { what: `${text} failed`, error: alone });
  }
  const together = await Promise.all(Array.from({ length: FEWEST_TOGETHER }, () => ask(run, row)));
  const errors = together.flatMap(({ error }) => error ?? []);
  const broken = errors.find((error) => !isRefusal(error));
  if (broken !== undefined) {
    throw await failure(run, { what: `${text} sent together with others failed`, error: broken });
  }
  const refusal = alone ?? errors[0];
  await run.say(
    refusal === undefined
      ? { step: "gate", message: `${text} was answered; give examples with expected outputs to check more` }
      : {
          step: "gate",
          level: "warning",
          message: `the model refused ${text}: ${refusal.message}; give an example of a real input to check more`,
        },
  );
}

/** Undefined where the contract takes other values than can be made up. */
function rowOf(manifest: Manifest, value: JsonValue): Row | undefined {
  try {
    return decodeInput(manifest, value, "made-up input");
  } catch (error) {
    if (error instanceof InvalidInputError) return undefined;
    throw error;
  }
}

/** What came back for one row. */
interface Answer {
  readonly output?: JsonValue;
  readonly error?: WindjammerError;
}

/** The model's answer to an input it was not made for; a crash, a hang or a wrong count is none. */
function isRefusal(error: WindjammerError): boolean {
  return (
    error instanceof ModelError ||
    (error instanceof InvalidModelOutputError && error.details["isWrongCount"] === false)
  );
}

/** Sends one row. @throws the signal's reason when it aborts first */
async function ask(run: GateRun, row: Row): Promise<Answer> {
  const settled = await settle(run, row);
  if (settled.kind === "error") return { error: settled.error };
  try {
    const text = outputJson(run.served.version.manifest, settled.outputs, settled.index);
    return { output: JSON.parse(text) as JsonValue };
  } catch (cause) {
    if (cause instanceof WindjammerError) return { error: cause };
    return { error: new InvalidModelOutputError(`the output is not JSON: ${String(cause)}`, { cause }) };
  }
}

function settle(run: GateRun, row: Row): Promise<Settlement> {
  return new Promise((resolve, reject) => {
    const { served, signal } = run;
    const query = {
      row,
      arrivedAt: performance.now(),
      // No deadline: a model that hangs or dies is found by the queue, which names the replica and its last words.
      deadlineAt: Infinity,
      isTrial: true,
      isAbandoned: false,
      settle(settlement: Settlement): void {
        signal.removeEventListener("abort", giveUp);
        resolve(settlement);
      },
    };
    function giveUp(): void {
      query.isAbandoned = true;
      reject(toWindjammerError(signal.reason));
    }
    if (signal.aborted) {
      giveUp();
      return;
    }
    signal.addEventListener("abort", giveUp, { once: true });
    served.enqueue(query);
  });
}

interface Judged {
  readonly index: number;
  /** " sent together with others" */
  readonly how: string;
}

async function judge(run: GateRun, { output, error }: Answer, { index, how }: Judged): Promise<void> {
  const what = `example ${index + 1}${how}`;
  const details = { example: index + 1 };
  if (error !== undefined) throw await failure(run, { what: `${what} failed`, error, details });
  const { examples, tolerance } = run.settings;
  const expected = examples[index]?.output;
  if (expected === undefined || output === undefined) return;
  const difference = findDifference(expected, output, tolerance);
  if (difference === undefined) return;
  throw await failure(run, {
    what: `${what} gave another output than expected: ${describe(difference)}${within(difference, tolerance)}`,
    details: { ...details, ...difference, tolerance },
  });
}

function describe({ path, expected, got }: Difference): string {
  if (expected === undefined) return `${path} is ${show(got)}, expected nothing there`;
  return `${path} is ${got === undefined ? "missing" : show(got)}, expected ${show(expected)}`;
}

/** What two numbers may differ by; nothing for other values, which have to be equal. */
function within({ expected, got }: Difference, tolerance: number): string {
  return typeof expected === "number" && typeof got === "number" ? ` (tolerance ${tolerance})` : "";
}

function show(value: JsonValue | undefined): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
}

interface Failure {
  readonly what: string;
  readonly error?: WindjammerError;
  readonly details?: { readonly [key: string]: unknown };
}

async function failure(run: GateRun, { what, error, details }: Failure): Promise<GateFailedError> {
  const { model, version } = run.served.version;
  const cause = error === undefined ? "" : `: ${error.message} (${error.code})`;
  const logTail = await lastLines(run, error?.details["replica"]);
  return new GateFailedError(`model ${model} version ${version} did not pass the gate: ${what}${cause}`, {
    details: { ...details, logTail, ...(error === undefined ? {} : { code: error.code }) },
    ...(error === undefined ? {} : { cause: error }),
  });
}

/** Last lines of the replica that an error names, or of the first one. */
async function lastLines(run: GateRun, replica: unknown): Promise<readonly string[]> {
  const id = typeof replica === "string" ? replica : run.served.replicas()[0]?.id;
  if (id === undefined) return [];
  await sleep(LOG_DELAY_MS);
  try {
    const lines = await Array.fromAsync(run.served.logs(id, { tail: LOG_LINES }));
    return lines.map((line) => line.text);
  } catch {
    // The log is a help only: the failure itself must come through.
    return [];
  }
}
