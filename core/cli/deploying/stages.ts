// Shows a deployment as it goes: one line a stage, the running one live where people watch a terminal.
import type { DeploymentEvent, DeploymentStep } from "../../types.ts";
import { oneLine, type Output, paint } from "../output.ts";
import { durationText } from "../units.ts";

type StageName = "bundle" | "build" | "start" | "gate" | "scale" | "switch";

/** What people see of the steps. */
const STAGES: Readonly<Record<Exclude<DeploymentStep, "done">, StageName>> = {
  receive: "bundle",
  check: "bundle",
  store: "bundle",
  prepare: "build",
  start: "start",
  ready: "start",
  gate: "gate",
  scale: "scale",
  switch: "switch",
  drain: "switch",
};

/** One stage that has ended. */
export interface StageReport {
  readonly stage: StageName;
  readonly ms: number;
  readonly message: string;
}

const FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const FRAME_MS = 120;
/** As wide as the longest name of a stage. */
const NAME_WIDTH = 6;

/** Shows the events of one deployment at a time; `end` or `fail` each. */
export class Stages implements Disposable {
  readonly reports: StageReport[] = [];
  readonly warnings: string[] = [];
  readonly #output: Output;
  readonly #isVerbose: boolean;
  #running: { readonly stage: StageName; readonly startedAt: number; message: string } | undefined;
  #frame = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(output: Output, { verbose = false }: { readonly verbose?: boolean | undefined } = {}) {
    this.#output = output;
    this.#isVerbose = verbose;
  }

  readonly event: (event: DeploymentEvent) => void = ({ step, level, message }) => {
    // A warning has a line of its own.
    // That all is done ends no stage of its own.
    if (step !== "done") this.#enter(STAGES[step], level === "warning" ? undefined : message);
    if (level === "warning") {
      this.warnings.push(message);
      this.#output.note(`  ${paint("yellow", "!", process.stderr)} ${oneLine(message)}`);
    } else if (this.#isVerbose) this.#output.note(`    ${paint("dim", oneLine(message), process.stderr)}`);
    this.#draw();
  };

  /** What is said while the bundle is made, before there is a deployment. */
  readonly bundling: (message: string) => void = (message) => {
    this.event({ sequence: 0, at: "", step: "receive", level: "info", message });
  };

  /** The last stage has ended well. */
  end(): void {
    this.#leave("green", "✓");
    this.#stop();
  }

  /** The running stage has failed. The error that follows says why, so that its line does not. */
  fail(): void {
    this.#leave("red", "✗", "");
    this.#stop();
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #enter(stage: StageName, message: string | undefined): void {
    if (this.#running?.stage === stage) this.#running.message = message ?? this.#running.message;
    else {
      this.#leave("green", "✓");
      this.#running = { stage, startedAt: performance.now(), message: message ?? "" };
      // Lines that nobody watches do not move.
      if (process.stderr.isTTY) this.#timer ??= setInterval(() => this.#draw(), FRAME_MS);
    }
  }

  #leave(style: "green" | "red", mark: string, shown?: string): void {
    if (this.#running === undefined) return;
    const { stage, startedAt, message } = this.#running;
    this.#running = undefined;
    const ms = Math.round(performance.now() - startedAt);
    this.reports.push({ stage, ms, message });
    const name = stage.padEnd(NAME_WIDTH);
    const time = paint("dim", durationText(ms).padStart(7), process.stderr);
    this.#output.note(
      `  ${paint(style, mark, process.stderr)} ${name} ${time}  ${oneLine(shown ?? message)}`.trimEnd(),
    );
  }

  #draw(): void {
    if (this.#running === undefined) return;
    const { stage, startedAt, message } = this.#running;
    const frame = FRAMES[this.#frame++ % FRAMES.length] ?? "";
    const time = durationText(performance.now() - startedAt).padStart(7);
    this.#output.progress(`  ${frame} ${stage.padEnd(NAME_WIDTH)} ${time}  ${message}`);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#output.done();
  }
}
