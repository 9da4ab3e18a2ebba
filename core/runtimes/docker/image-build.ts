// Builds a planned image: with the classic builder, or with BuildKit where that is needed or the only one.
import { EngineRefusedError } from "../../errors.ts";
import type { BuildRequest, Engine } from "../engine.ts";
import type { PrepareOptions } from "../runtime.ts";
import { buildError } from "./build-errors.ts";
import { BuildLog, type BuildOutcome } from "./build-log.ts";
import { contextStream } from "./context.ts";
import type { ImagePlan } from "./image-plan.ts";
import type { DockerOptions } from "./index.ts";
import { LABEL } from "./labels.ts";

/** How engines that have given up the classic builder say so. */
const NO_CLASSIC = /buildkit|legacy builder|classic builder/i;

type Progress = Pick<PrepareOptions, "report" | "signal">;

/**
 * @param base id of the base image; a label says it, so that another base is noticed
 * @throws ImageBuildError, PackageNotFoundError, PackageInstallError, DiskFullError, EngineUnreachableError
 */
export async function buildImage(
  engine: Engine,
  { plan, base, options }: { plan: ImagePlan; base: string | undefined; options: DockerOptions },
  progress: Progress,
): Promise<void> {
  const { report } = progress;
  const startedAt = performance.now();
  const bytes = plan.files.reduce((sum, { size }) => sum + size, 0);
  report(`building image ${plan.tag} from ${(bytes / 1e6).toFixed(1)} MB`, { image: plan.tag, bytes });
  const labels = { ...plan.labels, ...(base === undefined ? {} : { [LABEL.base]: base }) };
  const build = (builder: BuildRequest["builder"]): Promise<BuildOutcome> =>
    buildWith(engine, { plan, options, request: { builder, labels } }, progress);
  const { builder = "auto" } = options;
  const first = builder === "auto" ? (plan.needsBuildkit ? "buildkit" : "classic") : builder;
  const outcome = await build(first).catch((error: unknown) => {
    const isRefused = error instanceof EngineRefusedError && NO_CLASSIC.test(error.message);
    if (builder !== "auto" || first === "buildkit" || !isRefused) throw error;
    report("this engine has no classic builder; building with BuildKit");
    return build("buildkit");
  });
  if (outcome.error !== undefined) throw buildError("building the image", outcome);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  report(`built ${plan.tag} in ${seconds} s, ${outcome.cachedSteps} steps from the cache`, {
    image: plan.tag,
    cachedSteps: outcome.cachedSteps,
  });
}

async function buildWith(
  engine: Engine,
  {
    plan,
    options,
    request,
  }: {
    readonly plan: ImagePlan;
    readonly options: DockerOptions;
    readonly request: Pick<BuildRequest, "builder" | "labels">;
  },
  { report, signal }: Progress,
): Promise<BuildOutcome> {
  const { buildArgs = {}, buildNetwork, pullLogin } = options;
  // The classic builder warns of arguments that it does not know.
  const epoch: Record<string, string> = request.builder === "buildkit" ? { SOURCE_DATE_EPOCH: "0" } : {};
  const log = new BuildLog(report, `pulling ${plan.baseImage ?? plan.tag}`);
  const context = contextStream(plan.texts, plan.files);
  const messages = engine.build(
    context,
    {
      tag: plan.tag,
      buildArgs: { ...epoch, ...buildArgs },
      networkMode: buildNetwork,
      // What another Dockerfile names as its base, only the builder knows.
      isPulling: plan.baseImage === undefined && options.pull === "always",
      logins: pullLogin?.serveraddress === undefined ? {} : { [pullLogin.serveraddress]: pullLogin },
      ...request,
    },
    signal,
  );
  for await (const message of messages) log.take(message);
  return log.outcome;
}
