// One query top to bottom: its deadline, the version that answers it, its outcome, and what is counted of it.
import {
  CallerGoneError,
  DeadlineExceededError,
  InvalidModelOutputError,
  ModelError,
  NoModelLinkedError,
  NoReplicaError,
  OverloadedError,
  ReplicaHungError,
  ReplicaLostError,
  ShuttingDownError,
  toWindjammerError,
  WindjammerError,
} from "../errors.ts";
import { keptDefaultText } from "./default-output.ts";
import type { DefaultReason, Outcome, Query, Row, Settlement } from "./query.ts";
import type { Router, Served, Target } from "./router.ts";

/** Clipper's two texts, which its users' programs look for; ours begin with them where they apply. */
const NO_MODEL_TEXT = "No connected models found for query";
const DEADLINE_TEXT = "Failed to retrieve a prediction response within the specified latency SLO";

interface DefaultRule {
  readonly errorClass: typeof WindjammerError;
  readonly reason: DefaultReason;
  readonly clipperText?: string;
}

/** Errors that an application's default output stands in for. */
const DEFAULT_RULES: readonly DefaultRule[] = [
  { errorClass: DeadlineExceededError, reason: "deadline", clipperText: DEADLINE_TEXT },
  { errorClass: OverloadedError, reason: "shed", clipperText: DEADLINE_TEXT },
  { errorClass: NoModelLinkedError, reason: "no-model", clipperText: NO_MODEL_TEXT },
  { errorClass: NoReplicaError, reason: "no-replica", clipperText: NO_MODEL_TEXT },
  { errorClass: ModelError, reason: "model-error" },
  { errorClass: InvalidModelOutputError, reason: "model-error" },
  { errorClass: ReplicaLostError, reason: "replica-lost" },
  { errorClass: ReplicaHungError, reason: "replica-lost" },
];

/** What Clipper says of a default output, alone; reasons that it does not know have none. */
export const CLIPPER_EXPLANATIONS: ReadonlyMap<DefaultReason, string> = new Map(
  DEFAULT_RULES.flatMap(({ reason, clipperText }) =>
    clipperText === undefined ? [] : [[reason, clipperText] as const],
  ),
);

/** The queries of one request. */
export interface PredictRequest {
  readonly target: Target;
  /**
   * One entry a query: its row, or why its input was refused. Undefined rows are for targets without a model, whose
   * inputs cannot be decoded.
   */
  readonly inputs: readonly (Row | WindjammerError | undefined)[];
  /** `performance.now()` when the request had arrived whole. */
  readonly arrivedAt: number;
  /** The request's own deadline, ms; the application's objective holds where it is shorter. */
  readonly timeoutMs?: number | undefined;
  /** Class of its queries, 1 (first) to `LOWEST_PRIORITY`: of those that wait, the first class goes. */
  readonly priority?: number | undefined;
}

/**
 * Called once, when every query has its outcome; ids of the queries count up from `firstId`. It must not throw: it is
 * called from within the queue, whose other queries would pay for it.
 */
export type PredictReply = (outcomes: readonly Outcome[], firstId: number) => void;

/** Queries on their way. */
export interface PredictCall {
  /** Nobody waits any more: what is still queued is dropped. */
  abandon(): void;
}

export class Predictor {
  readonly #router: Router;
  #nextId: number;

  /** @param parts `firstId`: of the first query; default 1 */
  constructor(parts: { readonly router: Router; readonly firstId?: number }) {
    this.#router = parts.router;
    this.#nextId = parts.firstId ?? 1;
  }

  /** @throws ApplicationNotFoundError, VersionNotFoundError */
  resolve(application: string, version?: string): Target {
    return this.#router.resolve(application, version);
  }

  /** As `resolve`, for a name of an application or, where there is none of it, of a model. @throws ModelNotFoundError, VersionNotFoundError */
  resolveModel(name: string, version?: string): Target {
    return this.#router.resolveModel(name, version);
  }

  /** The application of this name or, without one, the only application there is. @throws ModelNotFoundError */
  resolveOnly(name: string | undefined): Target {
    return this.#router.resolveModel(name ?? this.#router.onlyName());
  }

  /** Counts a request that came whole and whose queries cannot be read, as one query that failed. */
  refused({ target, error, arrivedAt }: Refusal): void {
    const { code } = toWindjammerError(error);
    countersOf(target).outcome("error", code, performance.now() - arrivedAt);
  }

  /** Sends the queries on their way; `reply` may be called before this returns. */
  predict(request: PredictRequest, reply: PredictReply): PredictCall {
    const { application } = request.target;
    const budgetMs = Math.min(application.latencyObjectiveMs ?? Infinity, request.timeoutMs ?? Infinity);
    const firstId = this.#nextId;
    this.#nextId += request.inputs.length;
    const call = new Call({
      router: this.#router,
      request,
      deadlineAt: request.arrivedAt + budgetMs,
      reply: (outcomes) => reply(outcomes, firstId),
    });
    call.start();
    return call;
  }
}

/** A request that cannot be read. */
export interface Refusal {
  readonly target: Target;
  readonly error: unknown;
  /** `performance.now()` when it had arrived whole. */
  readonly arrivedAt: number;
}

/** For what came to no version: of the one that it was for. */
function countersOf({ version, metrics }: Target): Pick<Target["metrics"], "outcome"> {
  return version === undefined ? metrics : metrics.by(version.model, version.version);
}

interface CallParts {
  readonly router: Router;
  readonly request: PredictRequest;
  readonly deadlineAt: number;
  readonly reply: (outcomes: readonly Outcome[]) => void;
}

/** One request: holds its queries' outcomes in order until all are there. */
class Call implements PredictCall {
  readonly parts: CallParts;
  readonly #outcomes: Outcome[] = [];
  readonly #queries: CallQuery[] = [];
  #missing: number;

  constructor(parts: CallParts) {
    this.parts = parts;
    this.#missing = parts.request.inputs.length;
  }

  start(): void {
    const { inputs, target } = this.parts.request;
    if (inputs.length === 0) this.parts.reply([]);
    for (let index = 0; index < inputs.length; index += 1) {
      const input = inputs[index];
      if (input instanceof WindjammerError) {
        this.settled(index, { kind: "error", error: input });
      } else if (target.served === undefined || input === undefined) {
        this.settled(index, {
          kind: "error",
          error: target.error ?? new WindjammerError("a query without a row"),
        });
      } else {
        const query = new CallQuery(this, index, input);
        this.#queries.push(query);
        query.send(target.served);
      }
    }
  }

  abandon(): void {
    for (const query of this.#queries) query.isAbandoned = true;
  }

  settled(index: number, settlement: Settlement, query?: CallQuery): void {
    const metrics = query?.metrics ?? countersOf(this.parts.request.target);
    const outcome = this.#outcome(settlement, query?.served);
    const latencyMs = performance.now() - this.parts.request.arrivedAt;
    if (settlement.kind === "error") query?.served?.noteError(settlement.error);
    if (query?.isAbandoned === true) {
      metrics.outcome("error", CallerGoneError.kind.code, latencyMs);
    } else {
      metrics.outcome(outcome.kind, reasonOf(outcome), latencyMs);
      this.#countObjective(outcome, latencyMs);
    }
    this.#outcomes[index] = outcome;
    this.#missing -= 1;
    if (this.#missing === 0) this.parts.reply(this.#outcomes);
  }

  /** Queries that were wrong themselves have no part in it. */
  #countObjective(outcome: Outcome, latencyMs: number): void {
    const { application, metrics } = this.parts.request.target;
    const { latencyObjectiveMs } = application;
    if (latencyObjectiveMs === undefined) return;
    if (outcome.kind === "ok") metrics.objective(latencyMs <= latencyObjectiveMs ? "met" : "late");
    else if (outcome.error.statusCode >= 500) metrics.objective("missed");
  }

  #outcome(settlement: Settlement, served: Served | undefined): Outcome {
    if (settlement.kind === "error") return this.#errorOutcome(settlement.error, served);
    const version = served?.version.version ?? "";
    return { kind: "ok", outputs: settlement.outputs, index: settlement.index, version };
  }

  /** Never throws: the queue is the caller, and the query's own caller waits. */
  #errorOutcome(error: WindjammerError, served: Served | undefined): Outcome {
    try {
      return errorOutcome(error, this.parts.request.target, served);
    } catch (cause) {
      return { kind: "error", error: toWindjammerError(cause) };
    }
  }
}

/** One input on its way; the queue settles it exactly once. */
class CallQuery implements Query {
  readonly row: Row;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly priority: number | undefined;
  isAbandoned = false;
  served: Served | undefined;
  /** Taken before it goes, since version and application may be gone when it is settled. */
  metrics: ReturnType<Target["metrics"]["by"]> | undefined;
  readonly #call: Call;
  readonly #index: number;

  constructor(call: Call, index: number, row: Row) {
    this.row = row;
    this.arrivedAt = call.parts.request.arrivedAt;
    this.deadlineAt = call.parts.deadlineAt;
    this.priority = call.parts.request.priority;
    this.#call = call;
    this.#index = index;
  }

  send(served: Served): void {
    const { target } = this.#call.parts.request;
    const { model, version } = served.version;
    this.served = served;
    this.metrics = target.metrics.by(model, version);
    if (target.cache === undefined || served !== target.served) {
      served.enqueue(this);
      return;
    }
    const { metrics } = this;
    metrics.cache(target.cache.submit(this, served));
  }

  settle(settlement: Settlement): void {
    const successor = settlement.kind === "error" ? this.#successor(settlement.error) : undefined;
    if (successor === undefined) this.#call.settled(this.#index, settlement, this);
    else this.send(successor);
  }

  /**
   * The version that took over while the query reached one that was draining: it takes the row where it has the same
   * contract. At most once, since it has to be another version.
   */
  #successor(error: WindjammerError): Served | undefined {
    const { router, request } = this.#call.parts;
    const { target } = request;
    const mayMove = !this.isAbandoned && !target.isPinned && this.served === target.served;
    if (!mayMove || !(error instanceof ShuttingDownError)) return undefined;
    const served = router.current(target.application.name);
    const hasMoved = served !== undefined && served !== target.served;
    return hasMoved && takesSameRows(served, target) ? served : undefined;
  }
}

function takesSameRows(served: Served, target: Target): boolean {
  const { inputType, contract } = served.version.manifest;
  return (
    inputType === target.manifest?.inputType &&
    JSON.stringify(contract) === JSON.stringify(target.manifest.contract)
  );
}

function reasonOf(outcome: Outcome): string {
  if (outcome.kind === "ok") return "";
  return outcome.kind === "default" ? outcome.reason : outcome.error.code;
}

/** The application's default output where it has one and the error is not the caller's own. */
function errorOutcome(error: WindjammerError, target: Target, served: Served | undefined): Outcome {
  const { defaultOutput } = target.application;
  const rule = DEFAULT_RULES.find(({ errorClass }) => error instanceof errorClass);
  if (defaultOutput === undefined || rule === undefined) return { kind: "error", error };
  const trouble = served?.lastTrouble();
  const parts = [
    rule.clipperText,
    error.message,
    error.message.includes(trouble ?? "") ? undefined : trouble,
  ];
  return {
    kind: "default",
    output: keptDefaultText(target.application) ?? JSON.stringify(defaultOutput),
    reason: rule.reason,
    explanation: parts.filter((part) => part !== undefined).join("; "),
    error,
  };
}
