// One run of `windjammer apply`: the plan, the question whether to go on, and what is done.
import { createInterface } from "node:readline/promises";
import type { Windjammer } from "../../client/interface.ts";
import { urlFromEnvironment } from "../../environment.ts";
import { InvalidOptionsError } from "../../errors.ts";
import type { ApplyFlags } from "../apply.ts";
import { knownVersions } from "../deploying/model.ts";
import { Output, paint, type Style } from "../output.ts";
import { withServer } from "../server.ts";
import { carryOut } from "./carry-out.ts";
import { loadConfig, type LoadedConfig } from "./config-file.ts";
import { type Action, deletions, makePlan, type PlanRow, type Present, type Wish } from "./plan.ts";
import { findWanted, type Wanted } from "./wanted.ts";

/** @throws what is wrong with the file, and what a deployment throws */
export async function apply(flags: ApplyFlags, signal: AbortSignal): Promise<void> {
  const output = new Output(flags);
  const loaded = await loadConfig(flags.config);
  // The file's token is for the file's server, and no other is told it.
  const isOfFile = flags.url === undefined && urlFromEnvironment() === undefined;
  const token = flags.token ?? (isOfFile ? loaded.config.server?.token : undefined);
  await withServer(
    { ...flags, ...urlOf(flags, loaded), ...(token === undefined ? {} : { token }) },
    async (wj) => {
      await using wanted = await findWanted(loaded, (message) => output.progress(message));
      output.done();
      signal.throwIfAborted();
      await applyTo(wj, { loaded, wanted }, { flags, output, signal });
    },
  );
}

/** The server of the file, unless a flag or the environment names another. */
function urlOf({ url }: ApplyFlags, { config }: LoadedConfig): { readonly fallbackUrl?: string } {
  const port = config.server?.adminPort;
  return url !== undefined || port === undefined || port === 0
    ? {}
    : { fallbackUrl: `http://127.0.0.1:${port}` };
}

interface Context {
  readonly flags: ApplyFlags;
  readonly output: Output;
  readonly signal: AbortSignal;
}

async function applyTo(
  wj: Windjammer,
  { loaded, wanted }: { readonly loaded: LoadedConfig; readonly wanted: Wanted },
  { flags, output, signal }: Context,
): Promise<void> {
  const wish = {
    models: wanted.models.map(({ model, bundle }) => ({ model, bundle: bundle.hash })),
    applications: wanted.applications,
  };
  const present = await presentOn(wj);
  const rows = makePlan(wish, present, { prune: flags.prune === true });
  const isPlanOnly = flags.plan === true || flags.dryRun === true;
  const hasChanges = rows.some(({ action }) => action !== "unchanged");
  const counts = countsOf(rows);
  if (!output.isJson) output.note(planText(rows, { loaded, wj, ignored: ignoredBy(flags, wish, present) }));
  if (isPlanOnly || !hasChanges) {
    output.result({ isApplied: false, counts, plan: rows }, () =>
      hasChanges ? `plan: ${countsText(counts)}` : `nothing to do: ${countsText(counts)}`,
    );
    return;
  }
  if (!(await isAgreed(flags, output, signal))) {
    output.note("nothing was changed");
    signal.throwIfAborted();
    return;
  }
  await carryOut(wj, { rows, wanted }, { output, signal, verbose: flags.verbose });
  output.result({ isApplied: true, counts, plan: rows }, () => `applied: ${countsText(counts)}`);
}

async function presentOn(wj: Windjammer): Promise<Present> {
  const [models, applications, links] = await Promise.all([wj.models(), wj.applications(), wj.links()]);
  const known = await Promise.all(
    models.map(async ({ name }) => [name, await knownVersions(wj, name)] as const),
  );
  return {
    models: new Map(known),
    applications: new Map(applications.map((application) => [application.name, application])),
    links,
  };
}

/** What is left alone since nobody asked for --prune. */
function ignoredBy({ prune }: ApplyFlags, wish: Wish, present: Present): readonly PlanRow[] {
  return prune === true ? [] : deletions(wish, present);
}

const MARKS: Readonly<Record<Action, readonly [mark: string, style: Style]>> = {
  create: ["+", "green"],
  update: ["~", "yellow"],
  unchanged: ["=", "dim"],
  delete: ["-", "red"],
};

function planText(
  rows: readonly PlanRow[],
  about: { readonly loaded: LoadedConfig; readonly wj: Windjammer; readonly ignored: readonly PlanRow[] },
): string {
  const width = Math.max(0, ...rows.map(({ name }) => name.length));
  const lines = rows.map(({ action, what, name, changes }) => {
    const [mark, style] = MARKS[action];
    const line = `${mark} ${action.padEnd(9)} ${what.padEnd(11)} ${name.padEnd(width)}  ${changes.join("; ")}`;
    return `  ${paint(style, line.trimEnd(), process.stderr)}`;
  });
  const { ignored } = about;
  const names = ignored.map(({ what, name }) => `${what} ${name}`).join(", ");
  return [
    `${about.loaded.file} against ${about.wj.adminUrl}`,
    ...lines,
    ...(ignored.length === 0
      ? []
      : [`left alone, since the file does not name them (--prune deletes them): ${names}`]),
  ].join("\n");
}

type Counts = Readonly<Record<Action, number>>;

function countsOf(rows: readonly PlanRow[]): Counts {
  const count = (action: Action): number => rows.filter((row) => row.action === action).length;
  return {
    create: count("create"),
    update: count("update"),
    unchanged: count("unchanged"),
    delete: count("delete"),
  };
}

function countsText({ create, update, unchanged, delete: deleted }: Counts): string {
  return `${create} to create, ${update} to update, ${unchanged} unchanged, ${deleted} to delete`;
}

/** @throws InvalidOptionsError where nobody is there to be asked */
async function isAgreed({ yes }: ApplyFlags, output: Output, signal: AbortSignal): Promise<boolean> {
  if (yes === true) return true;
  if (output.isJson || !process.stdin.isTTY) {
    throw new InvalidOptionsError(
      "nobody can be asked here whether to carry the plan out; add --yes, or --plan to see it only",
      { details: { option: "yes" } },
    );
  }
  const ask = createInterface({ input: process.stdin, output: process.stderr });
  // It has the terminal raw: Ctrl-C is a key there, and no signal.
  ask.once("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const answer = await ask.question("carry it out? [y/N] ", { signal });
    return /^y(?:es)?$/i.test(answer.trim());
  } catch (error) {
    const isAborted = error instanceof Error && error.name === "AbortError";
    if (!isAborted) throw error;
    // Ctrl-D leaves the cursor behind the question; Ctrl-C has a line of its own.
    if (!signal.aborted) process.stderr.write("\n");
    return false;
  } finally {
    ask.close();
  }
}
