// What is to be in the image of a Python model: its Dockerfile, requirements, wheels, our server in Python.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CONTEXT } from "../../../containers/dockerfile.ts";
import { pythonDockerfile, WHEELS } from "../../../containers/dockerfile-python.ts";
import { InvalidBundleError } from "../../errors.ts";
import { parseRequirements } from "../../python-requirements.ts";
import type { BundleFolder } from "../../types.ts";
import { packageVersion } from "../../version.ts";
import type { Labels } from "../engine.ts";
import type { PrepareOptions } from "../runtime.ts";
import { bundleFiles, pythonServerFiles, type ContextFile } from "./context.ts";
import { digest, imageTag, type ImagePlan } from "./image-plan.ts";
import type { DockerOptions } from "./index.ts";
import { LABEL } from "./labels.ts";

const DEFAULT_BASE_IMAGE = "python:3.12-slim-bookworm";
const REQUIREMENTS = "requirements.txt";
const WHEELS_OF_BUNDLE = `${CONTEXT.weights}/${WHEELS}/`;

/** @throws InvalidBundleError */
export async function planPythonImage(
  bundle: BundleFolder,
  options: DockerOptions,
  names: Pick<PrepareOptions, "model" | "version">,
): Promise<ImagePlan> {
  const { manifest } = bundle;
  const [files, server, requirements] = await Promise.all([
    filesOf(bundle),
    pythonServerFiles(),
    requirementsOf(bundle),
  ]);
  const {
    pythonBaseImage: baseImage = DEFAULT_BASE_IMAGE,
    aptPackages = [],
    buildAptPackages = [],
  } = options;
  const fromSource = Object.keys(manifest.allowScripts).filter(
    (name) => manifest.allowScripts[name] === true,
  );
  const wheels = files.filter(({ name }) => name.startsWith(`${WHEELS}/`));
  const lists = [
    requirements,
    await hashOf(wheels),
    baseImage,
    ...aptPackages,
    ...buildAptPackages,
    ...fromSource,
  ];
  const packagesKey = digest(lists);
  const hasRequirements = requirements !== "";
  const recipe = pythonDockerfile({
    baseImage,
    aptPackages,
    buildAptPackages,
    hasRequirements,
    hasWheels: wheels.length > 0,
    fromSource,
    packagesKey,
    hasWeights: files.some(({ name }) => name.startsWith(`${CONTEXT.weights}/`)),
    buildArguments: Object.keys(options.buildArgs ?? {}),
    labels: {
      ...labelsOf(bundle, names),
      [LABEL.server]: server.hash.slice(0, 12),
      ...(hasRequirements ? { [LABEL.packages]: packagesKey } : {}),
    },
  });
  return {
    tag: imageTag({ model: names.model, version: names.version }, digest([recipe, server.hash])),
    baseImage,
    isPinned: false,
    labels: {},
    texts: { Dockerfile: recipe, ...(hasRequirements ? { [REQUIREMENTS]: requirements } : {}) },
    files: [...server.files, ...files],
    needsBuildkit: false,
    madeLockfile: undefined,
  };
}

function labelsOf(
  { hash, manifest }: BundleFolder,
  { model, version }: Pick<PrepareOptions, "model" | "version">,
): Labels {
  return {
    ...(model === undefined ? {} : { [LABEL.model]: model }),
    ...(version === undefined ? {} : { [LABEL.version]: version }),
    [LABEL.bundle]: hash,
    [LABEL.contract]: JSON.stringify(manifest.contract),
    [LABEL.deployer]: manifest.deployer,
    [LABEL.release]: packageVersion(),
  };
}

/** The bundle's files, its wheels apart: they are not in the image, only what is installed from them. */
async function filesOf(bundle: BundleFolder): Promise<readonly ContextFile[]> {
  const files = await bundleFiles(bundle.files);
  return files.map(({ name, path, size, isExecutable }) => {
    const isWheel = name.startsWith(WHEELS_OF_BUNDLE);
    const placed = isWheel ? `${WHEELS}/${name.slice(WHEELS_OF_BUNDLE.length)}` : name;
    return { name: placed, path, size, isExecutable };
  });
}

async function hashOf(wheels: readonly ContextFile[]): Promise<string> {
  const hash = createHash("sha256");
  for (const { name, path } of wheels) hash.update(`${name}\0`).update(await readFile(path));
  return hash.digest("hex");
}

/** Text for pip: only checked lines are let through. */
async function requirementsOf({ files }: BundleFolder): Promise<string> {
  const parsed = parseRequirements(await readFile(join(files, REQUIREMENTS), "utf8").catch(() => ""));
  if ("problem" in parsed) throw new InvalidBundleError(`${REQUIREMENTS}: ${parsed.problem}`);
  return parsed.requirements.map(({ line }) => `${line}\n`).join("");
}
