// `windjammer doctor`: what is there on this machine, what is missing, and the command that fixes it.
import { Command, Option } from "commander";
import { defaultCacheDir, defaultStateDir } from "../environment.ts";
import { type Finding, type Part, PARTS } from "./doctor/finding.ts";
import { oneLine, Output, paint } from "./output.ts";
import { parsePort } from "./values.ts";

interface DoctorFlags {
  readonly json?: true;
  readonly need: readonly Part[];
  readonly port: number;
  readonly adminPort: number;
  readonly stateDir: string;
  readonly cacheDir: string;
}

/** What is printed of a finding. */
interface Diagnosis extends Finding {
  /** A server, or a part that --need names, does not work without it. */
  readonly isNeeded: boolean;
}

export function doctorCommand(): Command {
  return new Command("doctor")
    .description("what is there on this machine, what is missing, and the command that fixes it")
    .addOption(
      new Option("--need <parts...>", "parts that have to work, beside a server itself")
        .choices(PARTS)
        .default([], "none"),
    )
    .option("--port <port>", "port of the query API", parsePort, 1337)
    .option("--admin-port <port>", "port of the management API", parsePort, 1338)
    .option("--state-dir <folder>", "folder of the registry and the bundles", defaultStateDir())
    .option("--cache-dir <folder>", "folder of installed packages", defaultCacheDir())
    .option("--json", "print JSON")
    .action(async (flags: DoctorFlags) => {
      const output = new Output(flags);
      output.progress("looking around");
      const findings = await examine(flags);
      const diagnoses = findings.map((finding): Diagnosis =>
        Object.assign(finding, { isNeeded: finding.part === undefined || flags.need.includes(finding.part) }),
      );
      const isWell = !diagnoses.some(({ outcome, isNeeded }) => outcome === "missing" && isNeeded);
      output.result({ isWell, findings: diagnoses }, () => textOf(diagnoses, isWell));
      if (!isWell) process.exitCode = 1;
    });
}

async function examine(flags: DoctorFlags): Promise<readonly Finding[]> {
  const machine = await import("./doctor/machine.ts");
  const parts = await import("./doctor/parts.ts");
  const findings = await Promise.all([
    machine.checkNode(),
    machine.checkNpm(),
    machine.checkFolder("state folder", flags.stateDir, "--state-dir"),
    machine.checkFolder("cache folder", flags.cacheDir, "--cache-dir"),
    machine.checkPort("query API", flags.port, "--port"),
    machine.checkPort("management API", flags.adminPort, "--admin-port"),
    parts.checkDocker(),
    parts.checkPython(),
    parts.checkPackages(process.cwd()),
  ]);
  return findings.flat();
}

function textOf(diagnoses: readonly Diagnosis[], isWell: boolean): string {
  const width = Math.max(...diagnoses.map(({ name }) => name.length));
  const lines = diagnoses.flatMap((diagnosis) => {
    const { name, found, fix, part, outcome } = diagnosis;
    const use = part === undefined || outcome === "ok" ? "" : paint("dim", ` (for ${PART_USES[part]})`);
    const line = `${markOf(diagnosis)}  ${name.padEnd(width)}  ${oneLine(found)}${use}`;
    return fix === undefined ? [line] : [line, `      ${" ".repeat(width)}  ${paint("cyan", fix)}`];
  });
  const verdict = isWell
    ? paint("green", "all that is needed is here: windjammer start")
    : paint("red", "something needed is missing; the commands above fix it");
  return `${lines.join("\n")}\n\n${verdict}`;
}

const PART_USES: Readonly<Record<Part, string>> = {
  docker: "--runtime docker, images and Dockerfiles",
  python: "Python models",
  onnx: ".onnx files",
  tensorflow: "SavedModels",
  tfjs: "TensorFlow.js models",
  grpc: "--grpc-port",
  clipper: "Clipper's model containers",
  docs: "the page /docs",
};

function markOf({ outcome, isNeeded }: Diagnosis): string {
  if (outcome === "ok") return paint("green", "ok  ");
  if (outcome === "warn") return paint("yellow", "warn");
  return isNeeded ? paint("red", "MISS") : paint("dim", "-   ");
}
