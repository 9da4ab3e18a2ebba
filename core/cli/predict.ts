// `windjammer predict`: sends one input, or a list of them, to an application.
import { readFile } from "node:fs/promises";
import { text as readText } from "node:stream/consumers";
import { type Command, Option } from "commander";
import type { JsonValue, Manifest } from "../../containers/protocol.ts";
import type { Windjammer } from "../client/interface.ts";
import { InvalidInputError, InvalidOptionsError, isNodeError, ModelFileNotFoundError } from "../errors.ts";
import { oneLine, Output, paint } from "./output.ts";
import { servedVersion } from "./served.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { durationText } from "./units.ts";
import { parseWhole } from "./values.ts";

/** Characters of what was given that an error shows. */
const MAX_SHOWN = 40;

interface PredictFlags extends ServerFlags {
  readonly input?: string;
  readonly file?: string;
  readonly image?: string;
  readonly pixels?: string;
  readonly batch?: true;
  readonly version?: string;
  readonly timeoutMs?: number;
}

export function predictCommand(): Command {
  return serverCommand("predict", "send an application one input, or a list of them")
    .argument("<application>", "name of the application")
    .argument("[source]", "- reads the input from standard input")
    .option(
      "--input <json>",
      "the input as JSON, such as '[1, 2.5]'; text as it is where the model takes text",
    )
    .option("--file <file>", "a file with it: JSON, or text or bytes where the model takes those")
    .option("--image <file>", "an image; for a tensor a PNG, resized to the shape of the contract")
    .addOption(
      new Option(
        "--pixels <low..high>",
        "with --image: range of the tensor's numbers (default: 0..1 for floats, 0..255 for integers)",
      ),
    )
    .option("--batch", "what is given is a list of inputs; prints an output a line")
    .option("--version <version>", "this version in place of the current one")
    .option("--timeout-ms <ms>", "a deadline shorter than the latency objective", parseWhole)
    .action(async (application: string, source: string | undefined, flags: PredictFlags) => {
      const output = new Output(flags);
      await withServer(flags, async (wj) => {
        const { manifest } = await servedVersion(wj, application, flags.version);
        const input = await inputText({ manifest, source, flags, application });
        const begun = performance.now();
        const { reply, isFailed } = await post(wj, application, { input, flags });
        print(output, reply, performance.now() - begun);
        if (isFailed) process.exitCode = 1;
      });
    });
}

interface Source {
  readonly manifest: Manifest;
  readonly source: string | undefined;
  readonly flags: PredictFlags;
  readonly application: string;
}

/** The input as JSON text. Numbers stay as they were written: the text is not printed anew. */
async function inputText({ manifest, source, flags, application }: Source): Promise<string> {
  const { input, file, image, pixels } = flags;
  if (source !== undefined && source !== "-") throw wrong(misplaced(source));
  const given = [source, input, file, image].filter((value) => value !== undefined);
  if (given.length !== 1) throw await noInput(given.length, manifest, application);
  if (image !== undefined) {
    const { imageInput, parsePixelRange } = await import("./image-input.ts");
    const range = pixels === undefined ? undefined : parsePixelRange(pixels);
    return JSON.stringify(imageInput(await readBytes(image), image, { manifest, range }));
  }
  if (input !== undefined) return jsonOf(input, manifest, "--input");
  if (file === undefined)
    return jsonOf(withoutNewline(await readText(process.stdin)), manifest, "standard input");
  const bytes = await readBytes(file);
  if (manifest.inputType === "bytes" && flags.batch !== true) return JSON.stringify(bytes.toString("base64"));
  return jsonOf(withoutNewline(bytes.toString("utf8")), manifest, file);
}

/** For an input, or its file, without the flag that says which of the two it is. */
function misplaced(source: string): string {
  const shown = source.length > MAX_SHOWN ? `${source.slice(0, MAX_SHOWN)}…` : source;
  return `${shown} has no flag: an input is given as --input '${shown}', a file as --file ${shown}; - stands for standard input`;
}

/** JSON as it is; for models that take text also text. @throws InvalidInputError */
function jsonOf(text: string, { inputType }: Manifest, from: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch (error) {
    if (inputType === "strings") return JSON.stringify(text);
    const message = error instanceof Error ? error.message : String(error);
    const hint = from === "--input" ? "; in a shell, put it between single quotes: --input '[1, 2]'" : "";
    throw new InvalidInputError(`${from} is not JSON: ${oneLine(message)}${hint}`, { cause: error });
  }
}

async function noInput(count: number, manifest: Manifest, application: string): Promise<InvalidOptionsError> {
  if (count > 1) return wrong("give one of --input, --file, --image and -");
  const { inputFlag } = await import("./deploying/curl-line.ts");
  return wrong(
    `give an input: --input, --file, --image or - ; ${application} takes ${manifest.inputType}, such as windjammer predict ${application} ${inputFlag(manifest)}`,
  );
}

interface Reply {
  readonly output?: JsonValue;
  readonly default?: boolean;
  readonly default_explanation?: string;
  readonly error?: string;
  readonly message?: string;
}

interface Sent {
  readonly input: string;
  readonly flags: PredictFlags;
}

/** Asks the query API. @throws the error of a query alone, or of the whole request */
async function post(
  wj: Windjammer,
  application: string,
  { input, flags }: Sent,
): Promise<{ readonly reply: unknown; readonly isFailed: boolean }> {
  const { Connection, replyError } = await import("../client/connection.ts");
  const { version, timeoutMs, batch } = flags;
  const fields = [
    `"${batch === true ? "input_batch" : "input"}":${input}`,
    ...(version === undefined ? [] : [`"version":${JSON.stringify(version)}`]),
    ...(timeoutMs === undefined ? [] : [`"timeout_ms":${timeoutMs}`]),
  ];
  const connection = new Connection(undefined);
  try {
    const url = `${wj.url}/${encodeURIComponent(application)}/predict`;
    const received = await connection.exchange("POST", url, { body: `{${fields.join(",")}}` });
    const reply = exactly(received.text);
    const isList = typeof reply === "object" && reply !== null && "batch_predictions" in reply;
    if (received.statusCode >= 300 && !isList) throw replyError(received, url);
    return { reply, isFailed: received.statusCode >= 300 };
  } finally {
    await connection.close();
  }
}

/** JSON whose numbers are printed again as they came: 1.0 and integers of 64 bits. */
function exactly(text: string): unknown {
  const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };
  const keep = (_: string, value: unknown, { source }: { readonly source?: string } = {}): unknown =>
    typeof value === "number" && source !== undefined ? rawJSON(source) : value;
  try {
    return JSON.parse(text, keep);
  } catch {
    return undefined;
  }
}

function print(output: Output, reply: unknown, tookMs: number): void {
  const list = (reply as { readonly batch_predictions?: readonly Reply[] }).batch_predictions;
  const replies = list ?? [reply as Reply];
  output.result(reply, () => replies.map(lineOf).join("\n"));
  const explanation = replies.find((each) => each.default === true)?.default_explanation;
  if (explanation !== undefined)
    output.note(paint("yellow", `the default output: ${oneLine(explanation)}`, process.stderr));
  if (process.stderr.isTTY) output.note(paint("dim", durationText(tookMs), process.stderr));
}

function lineOf({ output, error, message }: Reply): string {
  return error === undefined ? JSON.stringify(output) : `${error}: ${oneLine(message ?? "")}`;
}

async function readBytes(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    if (!isNodeError(error)) throw error;
    const why = error.code === "ENOENT" ? "there is no such file" : error.message;
    throw new ModelFileNotFoundError(`${file} cannot be read: ${why}`, { cause: error, details: { file } });
  }
}

/** A text file ends with a newline that its text does not mean. */
function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, "");
}

function wrong(message: string): InvalidOptionsError {
  return new InvalidOptionsError(message);
}
