// The flags of a deployment, and the options that they stand for.
import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { InvalidOptionsError, isNodeError } from "../../errors.ts";
import { parseWhole } from "../values.ts";
import { MODEL_KINDS, type ModelKind } from "./kinds.ts";

/** As commander gives them. */
export interface ModelFlags {
  readonly as?: ModelKind;
  readonly name?: string;
  readonly version?: string;
  /** False: `--no-application`. */
  readonly application?: string | false;
  readonly replicas?: number;
  readonly latencyObjective?: number;
  readonly defaultOutput?: { readonly value: unknown };
  readonly examples?: string;
  readonly tolerance?: number;
  readonly inputType?: string;
  readonly export?: string;
  readonly command?: readonly string[];
  readonly processing?: string;
  readonly package?: readonly (readonly [string, string])[];
  readonly allowScript?: readonly string[];
  readonly env?: readonly (readonly [string, string])[];
  readonly cpus?: number;
  readonly memory?: number;
  readonly set?: readonly (readonly [string, unknown])[];
}

/** Adds the flags to a command. */
export function addModelFlags(command: Command): Command {
  return command
    .addOption(new Option("--as <kind>", "what it is (default: by its looks)").choices(MODEL_KINDS))
    .option(
      "--name <name>",
      "name of the model, and of its application (default: from the file's or folder's name)",
    )
    .option("--version <version>", "default: the version that has this content, else the next free number")
    .option("--application <name>", "application that serves it (default: the model's name)")
    .option("--no-application", "none; link one later")
    .option("--replicas <count>", "replicas to run (default: as many as before, at first 1)", parseWhole)
    .option("--latency-objective <ms>", "from a query's arrival to its reply (default: none)", parseNumber)
    .option("--default-output <json>", "given when a prediction cannot be had in time", (text) => ({
      value: parseJson(text),
    }))
    .option("--examples <file>", 'JSON list of { "input": …, "output": … } that a new version has to answer')
    .option(
      "--tolerance <number>",
      "allowed deviation of a number in the examples (default: 1e-4)",
      parseNumber,
    )
    .option(
      "--input-type <type>",
      "what a query holds: doubles, strings, json, … (default of a module: json)",
    )
    .option("--export <name>", "export of a module (default: predict)")
    .option("--processing <module>", "module with preprocess and postprocess, around a model of tensors")
    .option(
      "--package <name@version>",
      "npm package in an exact version; may be repeated",
      collected(parsePackage),
    )
    .option("--allow-script <package>", "let its install script run; may be repeated", collected(String))
    .option(
      "--env <NAME=value>",
      "variable of the model container; may be repeated",
      collected(parseVariable),
    )
    .option("--cpus <count>", "CPU cores of a replica (default: 1)", parseNumber)
    .option("--memory <MiB>", "memory limit of a replica (default: none)", parseWhole)
    .option(
      "--set <option=json>",
      "any other option of a deploy call; may be repeated",
      collected(parseSetting),
    );
}

/** Options of a deploy call. @throws InvalidOptionsError for a file of examples that is none */
export async function optionsOf(flags: ModelFlags): Promise<Record<string, unknown>> {
  const { application, defaultOutput, examples, env, allowScript } = flags;
  const options = {
    name: flags.name,
    version: flags.version,
    // Commander has `true` here unless one of the two flags is given.
    application: application === false ? null : typeof application === "string" ? application : undefined,
    replicas: flags.replicas,
    latencyObjectiveMs: flags.latencyObjective,
    defaultOutput: defaultOutput?.value,
    examples: examples === undefined ? undefined : await readExamples(examples),
    tolerance: flags.tolerance,
    inputType: flags.inputType,
    export: flags.export,
    command: flags.command,
    processing: flags.processing,
    packages: flags.package === undefined ? undefined : Object.fromEntries(flags.package),
    allowScripts:
      allowScript === undefined ? undefined : Object.fromEntries(allowScript.map((name) => [name, true])),
    environment: env === undefined ? undefined : Object.fromEntries(env),
    cpus: flags.cpus,
    memoryMb: flags.memory,
    ...Object.fromEntries(flags.set ?? []),
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

async function readExamples(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    const reason = isNodeError(error) && error.code === "ENOENT" ? "there is no such file" : String(error);
    throw new InvalidOptionsError(`--examples ${file}: ${reason}`, {
      cause: error,
      details: { option: "examples" },
    });
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidOptionsError(
      `--examples ${file} is not JSON: ${(error as Error).message}; expected a list such as [{ "input": [1, 2], "output": 3 }]`,
      { cause: error, details: { option: "examples" } },
    );
  }
}

function collected<T>(
  parse: (text: string) => T,
): (text: string, before: readonly T[] | undefined) => readonly T[] {
  return (text, before = []) => [...before, parse(text)];
}

function parsePackage(text: string): readonly [string, string] {
  const at = text.lastIndexOf("@");
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new InvalidArgumentError("expected a package with its exact version, such as lodash@4.17.21.");
}

function parseVariable(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new InvalidArgumentError("expected NAME=value.");
}

function parseSetting(text: string): readonly [string, unknown] {
  const [name, value] = parseVariable(text);
  return [name, parseJson(value)];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError("expected JSON, such as 0.5, null, '\"none\"' or '{\"label\": null}'.");
  }
}

function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("expected a number.");
  return value;
}
