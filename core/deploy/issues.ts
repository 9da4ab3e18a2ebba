// Puts what a zod schema found wrong into words: which field, what was expected, what came, what it may have meant.
import { nearest } from "../nearest.ts";
import { z } from "zod";

const SHOWN_ISSUES = 5;
const SHOWN_CHARACTERS = 60;

/** Pass it to parse calls, so that issues know the value that came. */
export const REPORT_INPUT: { readonly reportInput: true } = { reportInput: true };

/** What was wrong, for people (`text`) and for programs (`details`). */
export interface DescribedIssues {
  readonly text: string;
  readonly details: { readonly issues: readonly { readonly field: string; readonly problem: string }[] };
}

/**
 * @param error of a parse with REPORT_INPUT
 * @param noun what a key is called: "field" of a body, "option" of a call
 * @param known keys that are understood, for "did you mean"; those of nested objects are not needed
 */
export function describeIssues(error: z.ZodError, noun: string, known: readonly string[]): DescribedIssues {
  const issues = error.issues.flatMap((issue) => {
    const at = fieldPath(issue.path);
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        field: [at, key].filter(Boolean).join("."),
        problem: unknownKey(key, { noun, at, known }),
      }));
    }
    return [{ field: at, problem: problem(issue, at) }];
  });
  const shown = issues.slice(0, SHOWN_ISSUES).map((issue) => issue.problem);
  const hidden = issues.length - shown.length;
  return {
    text: shown.join("; ") + (hidden > 0 ? `; and ${hidden} more` : ""),
    details: { issues },
  };
}

function problem(issue: z.core.$ZodIssue, at: string): string {
  const expected = issue.message
    .replace(/^(?:Invalid (?:input|option|string|discriminator value)|Too (?:small|big))[:.] /, "")
    .replace(/, received .*$/, "")
    .replace(/^Expected/, "expected");
  return `${at === "" ? "" : `${at}: `}${expected}, got ${got(issue)}`;
}

function got(issue: z.core.$ZodIssue): string {
  const input: unknown =
    issue.code === "invalid_union" && issue.discriminator !== undefined
      ? Object(issue.input)[issue.discriminator]
      : issue.input;
  return input === undefined ? "nothing" : showValue(input);
}

function unknownKey(
  key: string,
  context: { readonly noun: string; readonly at: string; readonly known: readonly string[] },
): string {
  const { noun, at, known } = context;
  if (at !== "") return `${at}: unknown ${noun} '${key}'`;
  const near = nearest(key, known);
  if (near !== undefined) return `unknown ${noun} '${key}'; did you mean '${near}'?`;
  return `unknown ${noun} '${key}'${known.length === 0 ? "" : `; known: ${known.join(", ")}`}`;
}

/** `examples[3].input` of ["examples", 3, "input"]. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? String(part) : `.${String(part)}`;
  }
  return text;
}

/** A value for an error message: JSON, cut short. */
export function showValue(value: unknown): string {
  let text: string;
  try {
    text = typeof value === "object" && value !== null ? JSON.stringify(value) : printed(value);
  } catch {
    text = Object.prototype.toString.call(value);
  }
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

function printed(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, SHOWN_CHARACTERS + 1));
  if (typeof value === "function") return "a function";
  return String(value);
}

interface JsonSchemaNode {
  readonly properties?: { readonly [key: string]: unknown };
  readonly additionalProperties?: unknown;
  readonly allOf?: readonly JsonSchemaNode[];
  readonly anyOf?: readonly JsonSchemaNode[];
  readonly oneOf?: readonly JsonSchemaNode[];
}

/** Keys an object schema understands; undefined when it takes any (a record, a custom check). */
export function knownKeys(schema: z.ZodType): readonly string[] | undefined {
  const node = z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    cycles: "ref",
    reused: "inline",
  });
  return keysOf(node);
}

function keysOf(node: JsonSchemaNode): readonly string[] | undefined {
  if (node.additionalProperties !== undefined && node.additionalProperties !== false) return undefined;
  const parts = [...(node.allOf ?? []), ...(node.anyOf ?? []), ...(node.oneOf ?? [])].map((part) =>
    keysOf(part),
  );
  if (node.properties === undefined && parts.length === 0) return undefined;
  const keys = new Set(Object.keys(node.properties ?? {}));
  for (const part of parts) {
    if (part === undefined) return undefined;
    for (const key of part) keys.add(key);
  }
  return [...keys];
}
