// Carries a plan out, row by row; stops at the first one that fails, and says where.
import type { Windjammer } from "../../client/interface.ts";
import { errorFromBody } from "../../error-replies.ts";
import { toWindjammerError } from "../../errors.ts";
import { alreadyMade } from "../deploying/model.ts";
import { Stages } from "../deploying/stages.ts";
import type { Output } from "../output.ts";
import type { PlanRow } from "./plan.ts";
import { setUp } from "./set-up.ts";
import type { Wanted } from "./wanted.ts";

export interface CarryOutOptions {
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly verbose: true | undefined;
}

/** @throws the error of the row that failed, of the same class, with the rows that were done and those that were not */
export async function carryOut(
  wj: Windjammer,
  { rows, wanted }: { readonly rows: readonly PlanRow[]; readonly wanted: Wanted },
  options: CarryOutOptions,
): Promise<void> {
  const steps = rows.filter(({ action }) => action !== "unchanged");
  for (const [at, row] of steps.entries()) {
    options.output.note(rowText(row));
    try {
      options.signal.throwIfAborted();
      await step(wj, { row, wanted }, options);
    } catch (error) {
      if (options.signal.aborted) throw error;
      const { code, message, details } = toWindjammerError(error);
      const done = steps.slice(0, at).map(rowText);
      const left = steps.slice(at + 1).map(rowText);
      throw errorFromBody({
        error: code,
        message: `stopped at ${rowText(row)}: ${message}\ndone before: ${list(done)}; not done: ${list(left)}. What had been applied stays; apply again when it is mended`,
        details: { ...details, stoppedAt: rowText(row), done, left },
      });
    }
  }
}

/** "update model digits". */
function rowText({ action, what, name }: PlanRow): string {
  return `${action} ${what} ${name}`;
}

function list(texts: readonly string[]): string {
  return texts.length === 0 ? "nothing" : texts.join(", ");
}

interface Step {
  readonly row: PlanRow;
  readonly wanted: Wanted;
}

async function step(wj: Windjammer, { row, wanted }: Step, options: CarryOutOptions): Promise<void> {
  const { action, what, name } = row;
  if (action === "delete") {
    await (what === "model" ? wj.deleteModel(name) : wj.deleteApplication(name));
    return;
  }
  if (what === "application") {
    const application = wanted.applications.find((each) => each.name === name);
    if (application !== undefined) await setUp(wj, application);
    return;
  }
  await deployModel(wj, { row, wanted }, options);
}

async function deployModel(wj: Windjammer, { row, wanted }: Step, options: CarryOutOptions): Promise<void> {
  const found = wanted.models.find(({ model }) => model.name === row.name);
  if (found === undefined) return;
  const { model, bundle } = found;
  using stages = new Stages(options.output, options);
  try {
    await wj.deploy(alreadyMade(bundle, model), {
      ...model.checked.own,
      ...model.checked.request,
      ...(row.version === undefined ? {} : { version: row.version }),
      onEvent: stages.event,
      signal: options.signal,
    });
    stages.end();
  } catch (error) {
    stages.fail();
    throw error;
  }
}
