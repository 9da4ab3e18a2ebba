// What a check of a model container found: one entry a check, each with what was expected and what came.

/** warn: it works, but not as it should; skip: it does not apply, `got` says why. */
export type CheckOutcome = "ok" | "warn" | "fail" | "skip";

export interface CheckResult {
  readonly name: string;
  readonly outcome: CheckOutcome;
  readonly expected: string;
  readonly got: string;
}

export interface CheckReport {
  readonly target: string;
  /** No check failed. */
  readonly isFit: boolean;
  readonly checks: readonly CheckResult[];
}

const MARKS: Readonly<Record<CheckOutcome, string>> = {
  ok: "ok  ",
  warn: "warn",
  fail: "FAIL",
  skip: "skip",
};

/** A line a check, with what was expected under it where something else came. */
export function reportText({ target, checks, isFit }: CheckReport): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, outcome, expected, got }) => {
    const line = `${MARKS[outcome]}  ${name.padEnd(width)}  ${got}`;
    const isAsExpected = outcome === "ok" || outcome === "skip";
    return isAsExpected ? [line] : [line, `      ${" ".repeat(width)}  expected: ${expected}`];
  });
  const count = (outcome: CheckOutcome): number => checks.filter((check) => check.outcome === outcome).length;
  const summary = (["ok", "warn", "fail", "skip"] as const)
    .filter((outcome) => count(outcome) > 0)
    .map((outcome) => `${count(outcome)} ${MARKS[outcome].trim()}`)
    .join(", ");
  const verdict = isFit ? "is fit to be deployed" : "is not fit to be deployed";
  return `${lines.join("\n")}\n\n${target} ${verdict}: ${summary}\n`;
}
