// What servers say when they refuse something, each in its own form.

/** The reason in an error's body: `error` (the protocol's), `detail` (FastAPI's) or `message` (TorchServe's), else all of it. */
export function refusalReason(text: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Plain text, which is the reason as it stands.
  }
  if (typeof parsed !== "object" || parsed === null) return text;
  const { error, detail, message } = parsed as Readonly<Record<string, unknown>>;
  const reason = error ?? detail ?? message;
  if (typeof reason === "string") return reason;
  if (Array.isArray(reason)) return reason.map(issueText).join("; ");
  return reason === undefined ? text : JSON.stringify(reason);
}

/** `{ loc: ["body", "inputs", 0], msg: "field required" }` of FastAPI's validation. */
function issueText(issue: unknown): string {
  const { loc, msg } = (issue ?? {}) as { readonly loc?: unknown; readonly msg?: unknown };
  if (typeof msg !== "string") return JSON.stringify(issue);
  return Array.isArray(loc) ? `${loc.join(".")}: ${msg}` : msg;
}
