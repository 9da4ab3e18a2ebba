// The options of a deploy call: parted into those of every deployment and the deployer's own, and checked.
import type { z } from "zod";
import type { Deployer } from "../deploy/deployer.ts";
import { nearest } from "../nearest.ts";
import { describeIssues, fieldPath, knownKeys, REPORT_INPUT, showValue } from "../deploy/issues.ts";
import { DEPLOY_OPTION_KEYS, deployOptionsSchema } from "../deploy/options.ts";
import { InvalidOptionsError } from "../errors.ts";
import type { DeploymentEvent, DeploymentRequest } from "../types.ts";
import { encodeJson } from "./encode.ts";
import type { DeployOptions } from "./interface.ts";

export type OnEvent = ((event: DeploymentEvent) => void) | undefined;

/** How a caller goes along with a deployment. */
export interface Follower {
  readonly onEvent: OnEvent;
  readonly signal: AbortSignal | undefined;
}

/** Options of a deploy call, parted and checked. */
export interface CheckedOptions<Options> extends Follower {
  readonly request: Omit<DeploymentRequest, "bundle">;
  readonly own: Options;
}

const isCommon = (key: string): boolean => DEPLOY_OPTION_KEYS.includes(key);

type OptionMap = Readonly<Record<string, unknown>>;

/** @throws InvalidOptionsError naming each wrong option, what is allowed and what came */
export function checkDeployOptions<Options>(
  deployer: Deployer<Options>,
  options: DeployOptions & Options,
): CheckedOptions<Options> {
  const { onEvent, signal, ...rest } = options as DeployOptions;
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  const ownKeys = knownKeys(deployer.options);
  const known = [...DEPLOY_OPTION_KEYS, "onEvent", "signal", ...(ownKeys ?? [])];
  if (ownKeys !== undefined) refuseUnknown(deployer.name, given, known);
  // An option can be both: a deployer may want the examples, too.
  const isOwn = (key: string): boolean => (ownKeys === undefined ? !isCommon(key) : ownKeys.includes(key));
  return {
    request: checkCommon(Object.fromEntries(given.filter(([key]) => isCommon(key))), known),
    own: parse(deployer.options, Object.fromEntries(given.filter(([key]) => isOwn(key))), known),
    onEvent: checkOnEvent(onEvent),
    signal: checkSignal(signal),
  };
}

function refuseUnknown(
  deployer: string,
  given: readonly (readonly [string, unknown])[],
  known: readonly string[],
): void {
  const unknown = given.map(([key]) => key).filter((key) => !known.includes(key));
  if (unknown.length === 0) return;
  const problems = unknown.map((key) => {
    const near = nearest(key, known);
    return near === undefined
      ? `unknown option '${key}'; the ${deployer} deployer takes ${known.join(", ")}`
      : `unknown option '${key}'; did you mean '${near}'?`;
  });
  throw new InvalidOptionsError(problems.join("; "), { details: { unknown, known } });
}

function checkCommon(options: OptionMap, known: readonly string[]): CheckedOptions<unknown>["request"] {
  const { examples } = options;
  const plain = Array.isArray(examples) ? { ...options, examples: examples.map(withoutUndefined) } : options;
  const request = parse(deployOptionsSchema, plain, known);
  if (request.defaultOutput !== undefined) checkJson(request.defaultOutput, ["defaultOutput"]);
  for (const [index, { input, output }] of (request.examples ?? []).entries()) {
    checkJson(input, ["examples", index, "input"]);
    if (output !== undefined) checkJson(output, ["examples", index, "output"]);
  }
  return request;
}

/** An example may say by `output: undefined` that any output will do, as every option may. */
function withoutUndefined(example: unknown): unknown {
  if (typeof example !== "object" || example === null) return example;
  return Object.fromEntries(Object.entries(example).filter(([, value]) => value !== undefined));
}

function checkJson(value: unknown, path: readonly PropertyKey[]): void {
  const field = fieldPath(path);
  try {
    encodeJson(value, field);
  } catch (error) {
    throw new InvalidOptionsError(error instanceof Error ? error.message : String(error), {
      cause: error,
      details: { option: field },
    });
  }
}

function checkOnEvent(onEvent: unknown): OnEvent {
  if (onEvent === undefined) return warn;
  if (typeof onEvent === "function") return onEvent as OnEvent;
  throw new InvalidOptionsError(`onEvent: expected a function, got ${showValue(onEvent)}`, {
    details: { option: "onEvent" },
  });
}

function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal;
  throw new InvalidOptionsError(`signal: expected an AbortSignal, got ${showValue(signal)}`, {
    details: { option: "signal" },
  });
}

function parse<T>(schema: z.ZodType<T>, options: OptionMap, known: readonly string[]): T {
  const parsed = schema.safeParse(options, REPORT_INPUT);
  if (parsed.success) return parsed.data;
  const { text, details } = describeIssues(parsed.error, "option", known);
  throw new InvalidOptionsError(text, { cause: parsed.error, details });
}

/** Without a listener, what a deployment warns of still reaches the user, as Node shows warnings. */
function warn({ level, message }: DeploymentEvent): void {
  if (level === "warning") process.emitWarning(message, "WindjammerWarning");
}
