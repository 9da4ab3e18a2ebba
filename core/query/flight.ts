// A batch on its way to a replica, and its reply.
import type { WindjammerError } from "../errors.ts";
import type { Replica } from "../replicas/replica.ts";
import type { BatchReply } from "./batch-body.ts";
import type { Pending } from "./pending.ts";

/** A batch on its way. */
export interface Flight {
  readonly replica: Replica;
  readonly batch: readonly Pending[];
  /** Where its queries failed before; undefined: nowhere yet. */
  readonly failedOn: Replica | undefined;
  readonly sentAt: number;
  /** When the replica is asked for next, whether it hangs; Infinity: it is being asked for. */
  hungAt: number;
  readonly wasFull: boolean;
  /** Nothing else was at the replica when it was sent. */
  readonly isAlone: boolean;
  /** Its reply came, or never will; a lost one stays among the flights until its queries are dealt with. */
  isOver: boolean;
}

/** When the next replica of them is to be asked for, or the next deadline of their queries passes; Infinity: never. */
export function nextDue(flights: Iterable<Flight>): number {
  let next = Infinity;
  for (const { batch, hungAt, isOver } of flights) {
    if (!isOver) next = Math.min(next, hungAt);
    for (const { isSettled, query } of batch) if (!isSettled) next = Math.min(next, query.deadlineAt);
  }
  return next;
}

/** Why nothing of a batch was answered; undefined: something was. */
export function failureOf(reply: BatchReply): WindjammerError | undefined {
  if (reply.kind === "failed") return reply.error;
  return reply.errors?.every((error) => error !== undefined) === true ? reply.errors[0] : undefined;
}

/** One of its queries that was answered, and is not settled: the memory of the others' rows may be given back. */
export function answeredOf({ batch }: Flight, reply: BatchReply): Pending | undefined {
  if (reply.kind === "failed") return undefined;
  return batch.find(({ isSettled }, index) => !isSettled && reply.errors?.[index] === undefined);
}

type Outputs = Extract<BatchReply, { kind: "outputs" }>;

/** Hands on what comes too late for its query: whoever waits for an equal one needs no batch then. */
export function handOnLate(batch: readonly Pending[], { outputs, errors }: Outputs): void {
  for (const [index, pending] of batch.entries()) {
    if (pending.isSettled && errors?.[index] === undefined) pending.succeed(outputs, index);
  }
}

/** Gives each query of a batch that still waits its own result. */
export function settleRows(batch: readonly Pending[], reply: Outputs): void {
  for (const [index, pending] of batch.entries()) {
    if (pending.isSettled) continue;
    const error = reply.errors?.[index];
    if (error === undefined) pending.succeed(reply.outputs, index);
    else pending.fail(error);
  }
}
