// The log of a build, a pull or a push as progress: steps with their number, layers from the cache, percent.
import { stripVTControlCharacters } from "node:util";
import { LineSplitter } from "../lines.ts";
import type { EngineMessage } from "../engine.ts";
import type { Report } from "../runtime.ts";
import { readTrace, TRACE_ID, type Vertex } from "./buildkit-trace.ts";
import { TransferProgress } from "./transfer-progress.ts";

/** Lines of the running step that are kept for an error. */
const KEPT_LINES = 100;

/** One step of a Dockerfile: BuildKit counts those of each stage apart, the classic builder all. */
export interface BuildStep {
  readonly number: number;
  readonly total: number;
  /** Undefined where steps are counted over all stages. */
  readonly stage?: string | undefined;
  readonly instruction: string;
}

/** What became of a build. */
export interface BuildOutcome {
  /** As the engine says it; undefined when the build succeeded. */
  readonly error: string | undefined;
  /** The step that ran last. */
  readonly step: BuildStep | undefined;
  /** Last lines of that step. */
  readonly lines: readonly string[];
  readonly cachedSteps: number;
  readonly digest: string | undefined;
}

/** Reads messages, reports them, and remembers what an error message needs. */
export class BuildLog {
  readonly #report: Report;
  readonly #transferring: string;
  readonly #splitter = new LineSplitter();
  readonly #transfer = new TransferProgress();
  /** BuildKit's running steps, by digest: several at once. */
  readonly #running = new Map<string, RunningStep>();
  #step: BuildStep | undefined;
  #isAnnounced = true;
  #lines: string[] = [];
  #error: string | undefined;
  #cachedSteps = 0;
  #digest: string | undefined;

  /** @param transferring what percents are of: "pulling node:24" */
  constructor(report: Report, transferring: string) {
    this.#report = report;
    this.#transferring = transferring;
  }

  get outcome(): BuildOutcome {
    return {
      error: this.#error,
      step: this.#step,
      lines: this.#lines,
      cachedSteps: this.#cachedSteps,
      digest: this.#digest,
    };
  }

  take(message: EngineMessage): void {
    // A failed build ends like one that succeeded: only this message tells.
    if (message.error !== undefined) this.#error = message.error.trim();
    if (message.stream !== undefined)
      this.#splitter.push(Buffer.from(message.stream)).forEach((line) => this.#line(line));
    if (message.status !== undefined) this.#status(message);
    if (message.id === TRACE_ID) this.#trace(message.aux);
    const digest = (message.aux as { Digest?: unknown } | undefined)?.Digest;
    if (typeof digest === "string") this.#digest = digest;
  }

  #line(raw: string): void {
    const line = stripVTControlCharacters(raw).trimEnd();
    const step = /^Step (\d+)\/(\d+) : ([^]*)$/.exec(line);
    if (step !== null) {
      this.#announce(false);
      this.#step = { number: Number(step[1]), total: Number(step[2]), instruction: step[3] ?? "" };
      this.#isAnnounced = false;
      this.#lines = [];
    } else if (line === " ---> Using cache") {
      this.#cachedSteps++;
      this.#announce(true);
    } else if (/^ ---> |^Removing intermediate container |^Successfully (?:built|tagged) /.test(line)) {
      this.#announce(false);
    } else if (line.trim() !== "") {
      this.#output(line);
    }
  }

  #trace(aux: unknown): void {
    const { vertexes, logs } = readTrace(aux);
    for (const vertex of vertexes) this.#vertex(vertex);
    for (const { vertex, data } of logs) {
      const running = this.#running.get(vertex);
      if (running === undefined) continue;
      this.#step = running.step;
      this.#lines = running.lines;
      for (const line of running.splitter.push(data)) {
        const text = stripVTControlCharacters(line).trimEnd();
        if (text !== "") this.#output(text);
      }
    }
  }

  #vertex({ digest, name, isCached, hasStarted, error }: Vertex): void {
    const running = this.#running.get(digest) ?? begun(name);
    if (running === undefined || !hasStarted) return;
    if (!this.#running.has(digest)) {
      this.#running.set(digest, running);
      this.#step = running.step;
      this.#lines = running.lines;
      this.#isAnnounced = false;
      // What is in the engine already is no step that was saved.
      if (isCached && !running.step.instruction.startsWith("FROM")) this.#cachedSteps++;
      this.#announce(isCached);
    }
    if (error === "") return;
    this.#step = running.step;
    this.#lines = running.lines;
  }

  #output(line: string): void {
    this.#announce(false);
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    if (!/^npm (?:error|ERR!)/.test(line)) this.#report(`  ${line}`);
  }

  /** The line after a step's own says whether it is cached. */
  #announce(isCached: boolean): void {
    if (this.#isAnnounced || this.#step === undefined) return;
    this.#isAnnounced = true;
    const { number, total, stage, instruction } = this.#step;
    const cached = isCached ? " (cached)" : "";
    this.#report(`step ${placeOf(this.#step)}${cached}: ${shortened(instruction)}`, {
      buildStep: number,
      buildSteps: total,
      ...(stage === undefined ? {} : { buildStage: stage }),
      isCached,
    });
  }

  #status(message: EngineMessage): void {
    this.#announce(false);
    const percent = this.#transfer.take(message);
    if (percent === undefined) return;
    this.#report(`${this.#transferring}: ${percent} %`, { percent });
  }
}

interface RunningStep {
  readonly step: BuildStep;
  readonly splitter: LineSplitter;
  readonly lines: string[];
}

/** @returns undefined for what is no step of the Dockerfile, such as sending the context */
function begun(name: string): RunningStep | undefined {
  const parts = /^\[(?:(\S+) +)?(\d+)\/(\d+)\] ([^]*)$/.exec(name);
  if (parts === null) return undefined;
  const [, stage, number, total, instruction = ""] = parts;
  const step = { number: Number(number), total: Number(total), stage, instruction };
  return { step, splitter: new LineSplitter(), lines: [] };
}

/** "3/5", "3/5 of packages". */
export function placeOf({ number, total, stage }: BuildStep): string {
  return `${number}/${total}${stage === undefined ? "" : ` of ${stage}`}`;
}

/** An instruction in a line: continued ones are long. */
export function shortened(instruction: string): string {
  const line = instruction.replaceAll(/\s+/g, " ").trim();
  return line.length > 100 ? `${line.slice(0, 99)}…` : line;
}
