// `windjammer check-container`: tells the author of a model container what is right and wrong with it.
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command } from "commander";
import type { ContainerSource } from "../../containers/protocol.ts";
import type { CheckTarget } from "../check/check-container.ts";
import { InvalidOptionsError, ModelFileNotFoundError } from "../errors.ts";
import { isImageName } from "../package-names.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import { parseWords } from "./values.ts";

interface Options {
  readonly json?: boolean;
  readonly as?: string;
  readonly folder: string;
  readonly model: string;
  readonly modelName?: string;
  readonly modelVersion?: string;
  readonly port?: string;
  readonly readyTimeout: string;
  readonly calls: string;
}

const KINDS = ["image", "folder", "command", "url"] as const;
type Kind = (typeof KINDS)[number];

export function checkContainerCommand(): Command {
  return new Command("check-container")
    .description("try a model container as Windjammer will use it; exit code 1 when it is not fit")
    .argument("<target>", 'an image, a folder with a Dockerfile, a command ("python3 server.py") or a URL')
    .option("--as <kind>", `what the target is: ${KINDS.join(", ")} (default: by its looks)`)
    .option("--folder <path>", "folder that a command is started in", ".")
    .option("--model <name>", "what the container is told that its model is called", "model")
    .option("--model-name <name>", "its own name for the model, if that is another one")
    .option("--model-version <version>", "its own version of the model, if it has several")
    .option("--port <number>", "port that an image listens on, if it goes by no environment variable")
    .option("--ready-timeout <ms>", "how long it may take to become ready", "60000")
    .option("--calls <number>", "calls of the memory check", "1000")
    .option("--json", "print the report as JSON")
    .action(async (target: string, options: Options) => {
      const { checkContainer } = await import("../check/check-container.ts");
      const { reportText } = await import("../check/report.ts");
      const report = await checkContainer(await targetOf(target, options), {
        model: options.model,
        readyTimeoutMs: whole("ready-timeout", options.readyTimeout),
        calls: whole("calls", options.calls),
        report: (message) => void (options.json === true || process.stderr.write(`${message}\n`)),
      });
      const text = options.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : reportText(report);
      process.stdout.write(text);
      if (!report.isFit) process.exitCode = 1;
    });
}

async function targetOf(target: string, options: Options): Promise<CheckTarget> {
  const { modelName, modelVersion, port } = options;
  const foreign = {
    ...(modelName === undefined ? {} : { modelName }),
    ...(modelVersion === undefined ? {} : { modelVersion }),
  };
  const reached = { ...foreign, ...(port === undefined ? {} : { port: whole("port", port) }) };
  const kind = await kindOf(target, options.as);
  const folder = resolve(kind === "folder" ? target : options.folder);
  const shown = kind === "folder" ? folder : target;
  if (kind === "folder") await requireDockerfile(folder);
  if (kind === "image" && !isImageName(target)) {
    throw new ModelFileNotFoundError(
      `${target} is no file or folder here, and no name of an image; a command with arguments is one word for the shell: "python3 server.py"`,
    );
  }
  const sources: Readonly<Record<Kind, () => ContainerSource>> = {
    image: () => ({ kind: "image", image: target, ...reached }),
    folder: () => ({ kind: "dockerfile", ...reached }),
    command: () => ({ kind: "command", command: parseWords(target), ...foreign }),
    url: () => ({ kind: "url", urls: [target], ...foreign }),
  };
  return { shown, source: sources[kind](), folder, runtime: await runtimeOf(kind) };
}

async function runtimeOf(kind: Kind): Promise<Runtime> {
  return kind === "image" || kind === "folder"
    ? (await import("../runtimes/docker/index.ts")).docker()
    : (await import("../runtimes/process/index.ts")).processRuntime();
}

async function kindOf(target: string, as: string | undefined): Promise<Kind> {
  const named = KINDS.find((kind) => kind === as);
  if (named !== undefined) return named;
  if (as !== undefined) throw new InvalidOptionsError(`--as: expected ${KINDS.join(", ")}, got "${as}"`);
  if (/^https?:\/\//.test(target)) return "url";
  const stats = await stat(target).catch(() => undefined);
  if (stats?.isDirectory() === true) return "folder";
  return stats?.isFile() === true || /\s/.test(target) ? "command" : "image";
}

async function requireDockerfile(folder: string): Promise<void> {
  await readFile(join(folder, "Dockerfile")).catch((error: unknown) => {
    throw new ModelFileNotFoundError(
      `${folder} has no Dockerfile; to check a program in it: windjammer check-container "python3 server.py" --folder ${folder}`,
      { cause: error },
    );
  });
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidOptionsError(`--${option}: expected a whole number over 0, got "${text}"`);
}
