// `windjammer check-container`: tells the author of a model container what is right and wrong with it.
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command, Option } from "commander";
import type { ContainerSource } from "../../containers/protocol.ts";
import type { CheckTarget } from "../check/check-container.ts";
import { ModelFileNotFoundError } from "../errors.ts";
import { isImageName } from "../package-names.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import { untilInterrupted } from "./interrupt.ts";
import { Output } from "./output.ts";
import { parsePort, parsePositive, parseWords } from "./values.ts";

interface Options {
  readonly json?: true;
  readonly as?: Kind;
  readonly folder: string;
  readonly model: string;
  readonly modelName?: string;
  readonly modelVersion?: string;
  readonly port?: number;
  readonly readyTimeout?: number;
  readonly calls: number;
}

const READY_TIMEOUT_MS = 60_000;
const KINDS = ["image", "folder", "command", "url"] as const;
type Kind = (typeof KINDS)[number];

export function checkContainerCommand(): Command {
  return new Command("check-container")
    .description("try a model container as Windjammer will use it; exit code 1 when it is not fit")
    .argument("<target>", 'an image, a folder with a Dockerfile, a command ("python3 server.py") or a URL')
    .addOption(new Option("--as <kind>", "what the target is (default: by its looks)").choices(KINDS))
    .option("--folder <path>", "folder that a command is started in", ".")
    .option("--model <name>", "what the container is told that its model is called", "model")
    .option("--model-name <name>", "its own name for the model, if that is another one")
    .option("--model-version <version>", "its own version of the model, if it has several")
    .option(
      "--port <number>",
      "port that an image listens on, if it goes by no environment variable",
      parsePort,
    )
    .option(
      "--ready-timeout <ms>",
      "how long it may take to become ready (default: 60000; somebody has to listen at a URL already)",
      parsePositive,
    )
    .option("--calls <number>", "calls of the memory check", parsePositive, 1_000)
    .option("--json", "print JSON")
    .action((target: string, options: Options) =>
      untilInterrupted((signal) => check(target, options, signal)),
    );
}

async function check(target: string, options: Options, signal: AbortSignal): Promise<void> {
  const output = new Output(options);
  const { checkContainer } = await import("../check/check-container.ts");
  const { reportText } = await import("../check/report.ts");
  const report = await checkContainer(await targetOf(target, options), {
    model: options.model,
    readyTimeoutMs: options.readyTimeout ?? READY_TIMEOUT_MS,
    waitsForServer: options.readyTimeout !== undefined,
    calls: options.calls,
    report: (message) => output.note(message),
    signal,
  });
  output.result(report, () => reportText(report));
  if (!report.isFit) process.exitCode = 1;
}

async function targetOf(target: string, options: Options): Promise<CheckTarget> {
  const { modelName, modelVersion, port } = options;
  const foreign = {
    ...(modelName === undefined ? {} : { modelName }),
    ...(modelVersion === undefined ? {} : { modelVersion }),
  };
  const reached = { ...foreign, ...(port === undefined ? {} : { port }) };
  const kind = await kindOf(target, options.as);
  const folder = resolve(kind === "folder" ? target : options.folder);
  const shown = kind === "folder" ? folder : target;
  if (kind === "folder") await requireDockerfile(folder);
  if (kind === "image" && !isImageName(target)) {
    throw new ModelFileNotFoundError(
      `${target} is no file or folder here, and no name of an image; a command with arguments is one word for the shell: "python3 server.py"`,
    );
  }
  if (kind === "image" && options.as === undefined)
    new Output(options).note(`${target} is no file or folder here: taken for an image`);
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

async function kindOf(target: string, as: Kind | undefined): Promise<Kind> {
  if (as !== undefined) return as;
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
