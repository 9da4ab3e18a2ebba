// One run of `windjammer build`: finds out what the model is, builds its image, pushes it where that is asked for.
import { buildImage } from "../../client/build.ts";
import { processEnvironment } from "../../environment.ts";
import { InvalidOptionsError } from "../../errors.ts";
import { docker, type PushOptions } from "../../runtimes/docker/index.ts";
import type { BuildFlags } from "../build.ts";
import { fields, Output } from "../output.ts";
import { optionsOf } from "./flags.ts";
import { findModel } from "./model.ts";
import { Stages } from "./stages.ts";

const PASSWORD = "WINDJAMMER_PUSH_PASSWORD";

/** @throws what is wrong with the model or its options, and what `buildImage` throws */
export async function build(target: string, flags: BuildFlags, signal: AbortSignal): Promise<void> {
  const output = new Output(flags);
  const { engine: host, baseImage, pythonBaseImage, pull } = flags;
  if (flags.as === "command") {
    throw new InvalidOptionsError(
      "--as command: a program runs where the server does, and no image is made of it; give its folder a Dockerfile, or deploy it as it is",
      { details: { option: "as" } },
    );
  }
  const model = await findModel({ target, as: flags.as, options: await optionsOf(flags) });
  const { name, version } = model;
  if (version === undefined) {
    throw new InvalidOptionsError(
      `--version is missing: the image of ${name} says which version it is, and no server is asked for the next one; give it`,
      { details: { option: "version" } },
    );
  }
  output.note(`${target} is ${model.recognized.what}; building ${name} version ${version}`);
  const runtime = docker({ host, baseImage, pythonBaseImage, pull, push: pushOf(flags) });
  using stages = new Stages(output, flags);
  try {
    const { own, request } = model.checked;
    const options = { ...own, ...request, onEvent: stages.event, signal };
    const { image, pushed } = await buildImage(model.deployer, options, runtime);
    stages.end();
    const built = { model: name, version, image, ...(pushed === undefined ? {} : { pushed }) };
    output.result({ ...built, stages: stages.reports, warnings: stages.warnings }, () =>
      fields([
        ["image", image],
        ["pushed", pushed?.image],
        ["digest", pushed?.digest],
      ]),
    );
  } catch (error) {
    stages.fail();
    throw error;
  }
}

/** @throws InvalidOptionsError */
function pushOf({ push, pushUser }: BuildFlags): PushOptions | undefined {
  if (push === undefined && pushUser === undefined) return undefined;
  if (push === undefined) {
    throw new InvalidOptionsError("--push-user goes with --push; say where to push", {
      details: { option: "push" },
    });
  }
  if (pushUser === undefined) return { repository: push };
  const password = processEnvironment([PASSWORD])[PASSWORD];
  if (password === undefined) {
    throw new InvalidOptionsError(`--push-user ${pushUser} needs a password: set ${PASSWORD}`, {
      details: { option: "push-user", variable: PASSWORD },
    });
  }
  return { repository: push, username: pushUser, password };
}
