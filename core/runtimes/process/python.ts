// The Python of this machine: finds an interpreter, and runs it and its pip with what they may know of us.
import { UnsupportedModelError } from "../../errors.ts";
import { processEnvironment } from "../../environment.ts";
import { INHERITED_VARIABLES } from "./launch.ts";
import { runTool } from "./tool.ts";

/** An interpreter that can run our server. */
export interface Interpreter {
  /** Its own path, behind links and shims. */
  readonly executable: string;
  readonly version: string;
  /** Its own pip can install into environments that have none (from 22.3 on): a second or two less for each. */
  readonly canInstallElsewhere: boolean;
  /** All that decides which packages fit it. */
  readonly identity: string;
}

const PROBE = `import json, sys, sysconfig
try:
    from importlib.metadata import version
    pip = [int(part) for part in version("pip").split(".")[:2]]
except Exception:
    pip = [0, 0]
print(json.dumps([sys.executable, list(sys.version_info[:3]), sys.implementation.cache_tag, sysconfig.get_platform(), pip]))`;

/** Of the user's pip settings these would install elsewhere, or other things. */
const NOT_FOR_PIP =
  /^(?:WINDJAMMER_.*|PYTHON.*|VIRTUAL_ENV|PIP_(?:TARGET|PREFIX|ROOT|USER|PYTHON|REQUIRE.*|DRY_RUN|CONSTRAINT|ONLY_BINARY|NO_BINARY|EDITABLE|SRC|REPORT|NO_DEPS))$/;

/**
 * @param python a command of the PATH, or a path
 * @throws UnsupportedModelError when there is none, or one that is too old
 */
export async function findInterpreter(python: string, signal: AbortSignal): Promise<Interpreter> {
  const command = {
    file: python,
    args: ["-I", "-c", PROBE],
    folder: "/",
    environment: processEnvironment(INHERITED_VARIABLES),
    signal,
    onLine: () => {},
  };
  const result = await runTool(command).catch((error: unknown) => {
    signal.throwIfAborted();
    throw unusable(`${python} cannot be started (${(error as Error).message})`, error);
  });
  signal.throwIfAborted();
  const { lines, exitCode } = result;
  if (exitCode !== 0) throw unusable(`${python} ended with code ${exitCode}: ${lines.slice(-2).join("; ")}`);
  const [executable, version, tag, platform, pip] = JSON.parse(lines.at(-1) ?? "") as [
    string,
    [number, number, number],
    string,
    string,
    [number, number],
  ];
  const [major, minor] = version;
  if (major !== 3 || minor < 9) throw unusable(`${executable} is Python ${version.join(".")}`);
  return {
    executable,
    version: version.join("."),
    canInstallElsewhere: pip[0] > 22 || (pip[0] === 22 && pip[1] >= 3),
    identity: JSON.stringify([executable, major, minor, tag, platform]),
  };
}

/** Whether it can make virtual environments, which models with packages need: Debian packs that apart. */
export async function hasVenv(executable: string, signal: AbortSignal): Promise<boolean> {
  const { exitCode } = await runTool({
    file: executable,
    args: ["-I", "-c", "import venv, ensurepip"],
    folder: "/",
    environment: processEnvironment(INHERITED_VARIABLES),
    signal,
    onLine: () => {},
  });
  return exitCode === 0;
}

function unusable(what: string, cause?: unknown): UnsupportedModelError {
  return new UnsupportedModelError(
    `the model runs in Python, and ${what}; install Python 3.9 or newer where windjammer runs, ` +
      'or name one with processRuntime({ python: "/path/to/python3" })',
    { cause },
  );
}

/**
 * The user's own environment, as if he ran pip himself: his index, its login and proxies are set there. Not what is
 * meant for this server, nor settings that would install elsewhere.
 */
export function pipEnvironment(): Record<string, string> {
  const own = Object.entries(processEnvironment()).filter(([name]) => !NOT_FOR_PIP.test(name));
  return {
    // With its own five, pip waits long before it says that there is no network.
    PIP_RETRIES: "2",
    PIP_DEFAULT_TIMEOUT: "30",
    ...Object.fromEntries(own),
    PIP_NO_INPUT: "1",
    PIP_DISABLE_PIP_VERSION_CHECK: "1",
    PIP_NO_COLOR: "1",
    PIP_PROGRESS_BAR: "off",
  };
}
