// `windjammer start`: runs a server in the foreground until it is told to stop.
import { Command, Option } from "commander";
import { leanStart } from "../../containers/lean-start.ts";
import type { ServerFileOptions } from "../../deployers/index.ts";
import type { ClipperOptions, ServerOptions } from "../config.ts";
import { defaultStateDir, tokenFromEnvironment } from "../environment.ts";
import { InvalidOptionsError } from "../errors.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { RunningServer } from "../windjammer.ts";
import { EXIT_CODES, type StopSignal } from "./interrupt.ts";
import { parsePort, parseWhole } from "./values.ts";

type RuntimeName = "process" | "docker";

interface RuntimeChoices {
  readonly baseImage?: string;
}

/** Loaded late, each with the packages that only it needs. */
const RUNTIMES: Readonly<Record<RuntimeName, (choices: RuntimeChoices) => Promise<Runtime>>> = {
  process: async ({ baseImage }) => {
    if (baseImage !== undefined) {
      throw new InvalidOptionsError(
        `--base-image ${baseImage} is for images, and the process runtime makes none; add --runtime docker, or leave it out`,
        { details: { option: "baseImage" } },
      );
    }
    return (await import("../runtimes/process/index.ts")).processRuntime();
  },
  docker: async ({ baseImage }) => (await import("../runtimes/docker/index.ts")).docker({ baseImage }),
};

/** Set by one flag each; any of them but the first needs that one. */
interface ClipperFlags {
  readonly clipperCompat?: true;
  readonly clipperHost?: string;
  readonly clipperAllowUnauthenticated?: true;
  readonly clipperAdminPort?: number;
  readonly clipperRpcPort?: number | null;
}

interface StartFlags extends Omit<ServerOptions, "clipper">, RuntimeChoices, ClipperFlags {
  readonly runtime: RuntimeName;
  readonly config?: string;
}

/** Numbers; what is left out keeps the default of `ServerOptions`. */
const NUMBERS: readonly (readonly [
  flags: string,
  description: string,
  parse?: (text: string) => number | string,
])[] = [
  [
    "--workers <count>",
    "processes that take predictions, or auto: three quarters of the cores (default: 1)",
    (text) => (text === "auto" ? text : parseWhole(text)),
  ],
  ["--max-body-bytes <bytes>", "largest body of a prediction (default: 64 MiB)"],
  ["--max-inputs <count>", "most inputs in one prediction (default: 10000)"],
  ["--max-queue-length <count>", "most queries that wait for one version (default: 10000)"],
  ["--max-bundle-bytes <bytes>", "largest bundle that may be uploaded, unpacked (default: 16 GiB)"],
  ["--request-timeout-ms <ms>", "a request must have arrived whole within this time (default: 30000)"],
  ["--drain-timeout-ms <ms>", "time running queries get to finish on close (default: 5000)"],
];

export function startCommand(): Command {
  const command = new Command("start")
    .description("run a server in the foreground: the query API and the management API")
    .option(
      "--port <port>",
      "port of the query API, 0 for a free one (default: AIP_HTTP_PORT, or 1337)",
      parsePort,
    )
    .option("--admin-port <port>", "port of the management API, 0 for a free one", parsePort, 1338)
    .option("--host <address>", "address both listen on; any but a loopback one needs a token", "127.0.0.1")
    .option("--state-dir <folder>", "folder of the registry and the bundles", defaultStateDir())
    .option(
      "--cache-dir <folder>",
      "folder of installed packages, shared by servers (default: the user's cache folder)",
    )
    .option(
      "--token <token>",
      "bearer token of the management API, at least 16 characters without spaces; better in WINDJAMMER_TOKEN, since others on this machine can read command lines",
    )
    .option("--grpc-port <port>", "port of the Open Inference Protocol over gRPC (default: off)", parsePort)
    .option("--grpc-reflection", "let gRPC clients ask for the services")
    .option("--server-name <name>", "name told to clients of the Open Inference Protocol", "windjammer")
    .addOption(
      new Option("--log-level <level>", "what is logged to standard error")
        .choices(["debug", "info", "warn", "error", "silent"])
        .default("info"),
    )
    .addOption(
      new Option(
        "--log-format <format>",
        "text for people, json a line (default: text on a terminal, else json)",
      ).choices(["text", "json"]),
    )
    .addOption(
      new Option("--runtime <runtime>", "what runs the model containers")
        .choices(Object.keys(RUNTIMES))
        .default("process"),
    )
    .option(
      "--base-image <image>",
      "with --runtime docker: image with Node 24 that models are built on (default: node:24-bookworm-slim)",
    )
    .option("--config <file>", "take what no flag says from the server options of a config file")
    .action(async (flags: StartFlags, self: Command) => start(flags, await fromFile(flags, self)));
  addClipperFlags(command);
  for (const [flags, description, parse = parseWhole] of NUMBERS) command.option(flags, description, parse);
  return command;
}

function addClipperFlags(command: Command): void {
  command
    .option(
      "--clipper-compat",
      "speak Clipper, too: its management API, its model containers, its shape of errors; without a token",
    )
    .option("--clipper-admin-port <port>", "port of Clipper's management API (default: 1339)", parsePort)
    .option(
      "--clipper-rpc-port <port>",
      "port that Clipper's model containers connect to, or off (default: 7000)",
      (text) => (text === "off" ? null : parsePort(text)),
    )
    .option("--clipper-host <address>", "address of both of these ports (default: 127.0.0.1)")
    .option(
      "--clipper-allow-unauthenticated",
      "let --clipper-host be one that other machines reach: whoever reaches these ports may change models",
    );
}

/** What the config file says where the command line says nothing. */
async function fromFile({ config }: StartFlags, command: Command): Promise<ServerFileOptions> {
  if (config === undefined) return {};
  const { loadConfig, serverOptions } = await import("./applying/config-file.ts");
  const options = Object.entries(serverOptions(await loadConfig(config)));
  return Object.fromEntries(options.filter(([name]) => command.getOptionValueSource(name) !== "cli"));
}

async function start(
  flags: StartFlags,
  { clipper: clipperOfFile, ...file }: ServerFileOptions,
): Promise<void> {
  const {
    clipperCompat,
    clipperHost,
    clipperAllowUnauthenticated,
    clipperAdminPort,
    clipperRpcPort,
    ...own
  } = flags;
  const clipper = clipperOptions({
    clipperCompat,
    clipperHost,
    clipperAllowUnauthenticated,
    clipperAdminPort,
    clipperRpcPort,
  });
  const { runtime: name, baseImage, config: _, ...options } = { ...own, ...file };
  const token = options.token ?? tokenFromEnvironment();
  const logFormat = process.stderr.isTTY ? "text" : "json";
  const told = Promise.withResolvers<void>();
  const server = await leanStart(async () => {
    // Late, so that the help of a command does not wait for a whole server to load.
    const { startServer } = await import("../windjammer.ts");
    const { vertexFromEnvironment } = await import("../config.ts");
    const runtime = await RUNTIMES[name ?? "process"](baseImage === undefined ? {} : { baseImage });
    return startServer({
      ...vertexFromEnvironment(),
      logFormat,
      ...options,
      clipper: clipper ?? clipperOfFile,
      token,
      runtime,
      onStop: told.resolve,
    });
  });
  // Signals first: whoever reads that it is up may stop it at once.
  const end = stopped(server, told.promise);
  process.stdout.write(banner(server, token !== undefined));
  await end;
}

/** @throws InvalidOptionsError when its settings come without --clipper-compat */
function clipperOptions(flags: {
  readonly [K in keyof ClipperFlags]: ClipperFlags[K] | undefined;
}): ClipperOptions | undefined {
  const { clipperCompat, clipperHost, clipperAllowUnauthenticated, clipperAdminPort, clipperRpcPort } = flags;
  const options: ClipperOptions = {
    host: clipperHost,
    allowUnauthenticated: clipperAllowUnauthenticated,
    adminPort: clipperAdminPort,
    rpcPort: clipperRpcPort,
  };
  if (clipperCompat === true) return options;
  if (Object.values(options).every((value) => value === undefined)) return undefined;
  throw new InvalidOptionsError(
    "the other --clipper options go with --clipper-compat; add it, or leave them out",
    { details: { option: "clipper-compat" } },
  );
}

function banner(server: RunningServer, hasToken: boolean): string {
  const { clipper } = server;
  const lines = [
    "Windjammer is up. Ctrl-C stops it.",
    `  query API       ${server.queryUrl}`,
    `  management API  ${server.adminUrl}${hasToken ? "  (with the token)" : ""}`,
    ...(server.workerCount > 1 ? [`  workers         ${server.workerCount} processes take predictions`] : []),
    ...(server.grpcAddress === undefined ? [] : [`  gRPC            ${server.grpcAddress}`]),
    ...(clipper === undefined ? [] : [`  Clipper's API   ${clipper.adminUrl}  (no token)`]),
    ...(clipper?.rpcEndpoint === undefined ? [] : [`  its containers  ${clipper.rpcEndpoint}`]),
    `  state           ${server.stateDir}`,
    `  try it          curl ${server.adminUrl}/health/ready`,
  ];
  return `${lines.join("\n")}\n`;
}

/** Resolves when a signal or `told` has closed the server; a second signal ends the process at once. */
async function stopped(server: RunningServer, told: Promise<void>): Promise<void> {
  const first = Promise.withResolvers<void>();
  let isClosing = false;
  const onSignal = (signal: StopSignal): void => {
    if (isClosing) process.exit(EXIT_CODES[signal]);
    isClosing = true;
    first.resolve();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
  await Promise.race([first.promise, told]);
  isClosing = true;
  process.stdout.write("closing: running queries may finish; press Ctrl-C again to end at once\n");
  await server.close();
  process.stdout.write("closed\n");
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
}
