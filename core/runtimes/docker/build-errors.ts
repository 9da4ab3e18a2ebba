// Turns the end of a failed build into an error that names the step, its last lines, and what to try.
import { DiskFullError, ImageBuildError, type WindjammerError } from "../../errors.ts";
import { installError } from "../npm-errors.ts";
import { pipError } from "../pip-errors.ts";
import { placeOf, shortened, type BuildOutcome } from "./build-log.ts";

const TAIL_LINES = 20;

/** How engines say that a registry does not let them in. */
export const NO_LOGIN: RegExp = /unauthorized|authentication required|no basic auth credentials|denied/i;

/** What a message of engines means, and what helps. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /manifest.*(?:unknown|not found)|not found: manifest|pull access denied|repository does not exist|No such image/i,
    "the base image is not on this engine and no registry has it for you: correct the option baseImage or pythonBaseImage, log in, or load the image beforehand (docker pull, docker load)",
  ],
  [
    /lookup .* (?:no such host|server misbehaving|i\/o timeout)|dial tcp|TLS handshake timeout|connection refused|EAI_AGAIN|ENOTFOUND|Client\.Timeout|bad address/i,
    'the engine reaches no network: check its network, proxy and DNS settings; the option buildArgs passes proxies on, buildNetwork: "host" uses the host\'s network',
  ],
  [
    /node-gyp|not found: make|gyp ERR|no acceptable C compiler/i,
    "a package is compiled at its installation: name compilers in the option buildAptPackages, such as python3, make and g++",
  ],
  [
    /apt-get.*not found|E: Unable to locate package/i,
    "the base image has no such Debian package, or no apt at all: correct aptPackages or baseImage",
  ],
  [NO_LOGIN, "the registry wants a login: correct user and password of the option push, or of pullLogin"],
];

/** @param what "building the image", "pushing windjammer/digits:1" */
export function buildError(what: string, outcome: BuildOutcome): WindjammerError {
  const { error = "", step, lines } = outcome;
  const everything = [...lines, error].join("\n");
  const details = {
    logTail: [...lines.slice(-TAIL_LINES), error],
    ...(step === undefined ? {} : { step: step.number, steps: step.total, instruction: step.instruction }),
  };
  const where = step === undefined ? "" : ` at step ${placeOf(step)} (${shortened(step.instruction)})`;
  if (/no space left on device/i.test(everything)) {
    return new DiskFullError(
      `${what} failed${where}: the engine's disk is full; docker system df shows what takes the space, docker image prune frees some`,
      { details },
    );
  }
  const installer = installerError(outcome);
  if (installer !== undefined) return withStep(installer, where, details);
  const said = lines.length === 0 ? error : `${error}: ${lines.slice(-3).join("; ")}`;
  const advice =
    ADVICE.find(([pattern]) => pattern.test(everything))?.[1] ?? "more of its output is in the details";
  return new ImageBuildError(`${what} failed${where}: ${said}; ${advice}`, { details });
}

/** What npm or pip said, where the step was theirs. */
function installerError({ error = "", step, lines }: BuildOutcome): WindjammerError | undefined {
  const everything = [...lines, error].join("\n");
  if (/^npm (?:error|ERR!)/m.test(everything) && !/gyp/.test(everything))
    return installError({ exitCode: 1, lines });
  const isPip = / pip .*install /.test(step?.instruction ?? "") && /^ERROR: /m.test(everything);
  return isPip ? pipError({ exitCode: 1, lines }) : undefined;
}

function withStep(
  error: WindjammerError,
  where: string,
  details: Readonly<Record<string, unknown>>,
): WindjammerError {
  const ErrorClass = error.constructor as typeof WindjammerError;
  return new ErrorClass(`${error.message} (building the image${where})`, {
    details: { ...error.details, ...details },
  });
}
