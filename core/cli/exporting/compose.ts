// A compose file that runs the same server, on the state folder of the one that was asked, in a container.
import { access } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Windjammer } from "../../client/interface.ts";
import { isImageName } from "../../package-names.ts";
import { defaultStateDir, tokenFromEnvironment } from "../../environment.ts";
import { InvalidOptionsError, UnsupportedModelError } from "../../errors.ts";
import { packageVersion } from "../../version.ts";
import type { ExportFlags } from "../export.ts";
import { openedVersions } from "./opened-versions.ts";
import { IMAGE, type Service, serviceText, TOKEN } from "./compose-text.ts";

const OTHER_FLAGS = "Other options that it was started with are not known here: add them to the command.";
const STATE = "/state";
const REGISTRY_FILE = "registry.db";

/** @throws InvalidOptionsError (no state folder), UnsupportedModelError (what a container of the engine cannot run) */
export async function composeFile(wj: Windjammer, flags: ExportFlags): Promise<string> {
  const { runtime } = await wj.info();
  if (runtime !== "process" && runtime !== "docker")
    throw new UnsupportedModelError(
      `the server runs models by its ${runtime} runtime; export compose is for servers that windjammer start runs: process or docker`,
      { details: { runtime } },
    );
  const { image, baseImage } = flags;
  for (const [flag, name] of [["--image", image] as const, ["--base-image", baseImage] as const])
    if (name !== undefined && !isImageName(name))
      throw new InvalidOptionsError(`${flag}: expected the name of an image, got ${JSON.stringify(name)}`);
  if (baseImage !== undefined && runtime !== "docker")
    throw new InvalidOptionsError(
      `--base-image ${baseImage} is for images, and the server's process runtime makes none; leave it out`,
    );
  const stateDir = resolve(flags.stateDir ?? defaultStateDir());
  await checkStateDir(stateDir, wj);
  if (runtime !== "docker" && image === undefined) await refusePython(wj);
  const service =
    runtime === "docker"
      ? await onTheEngine(wj, { ...flags, stateDir })
      : inContainer(wj, { ...flags, stateDir });
  return serviceText({ ...service, secrets: await secretsOf(wj) });
}

/** Variables that hold headers of models at URLs; their values are nowhere in what a server stores. */
async function secretsOf(wj: Windjammer): Promise<readonly string[]> {
  const variables = (await openedVersions(wj)).flatMap(({ manifest: { container } }) =>
    container?.kind === "url" ? Object.values(container.headersFrom ?? {}) : [],
  );
  return [...new Set(variables)].toSorted();
}

type Choice = ExportFlags & { readonly stateDir: string };

/** Models run as processes of the container. */
function inContainer(wj: Windjammer, { image, stateDir }: Choice): Omit<Service, "secrets"> {
  const ports = ["--host", "0.0.0.0", "--port", "1337", "--admin-port", "1338"];
  return {
    about: [
      `It runs the server of ${wj.adminUrl} on the same state folder: stop that one`,
      `first (windjammer stop), then: ${TOKEN}=… docker compose up`,
      OTHER_FLAGS,
    ],
    image,
    command: [...program(image), "start", ...ports, "--state-dir", STATE, "--cache-dir", `${STATE}/cache`],
    user: `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
    groups: [],
    environment: { HOME: STATE },
    needsToken: true,
    ports: [`127.0.0.1:${new URL(wj.url).port}:1337`, `127.0.0.1:${new URL(wj.adminUrl).port}:1338`],
    volumes: [{ source: stateDir, target: STATE }],
    adminPort: "1338",
  };
}

/**
 * Models run in containers beside it, of the same engine. These have paths and ports of the host: so has the server, by the
 * folder's own path and the host's network.
 */
async function onTheEngine(
  wj: Windjammer,
  { image, baseImage, stateDir, token }: Choice,
): Promise<Omit<Service, "secrets">> {
  // Late: no other command needs it.
  const { engineForCompose } = await import("./compose-engine.ts");
  const { socket, group } = await engineForCompose(wj, { baseImage, stateDir });
  const { port } = new URL(wj.url);
  const { port: adminPort } = new URL(wj.adminUrl);
  const base = baseImage === undefined ? [] : ["--base-image", baseImage];
  const ports = ["--port", port, "--admin-port", adminPort];
  const folders = ["--state-dir", stateDir, "--cache-dir", join(stateDir, "cache")];
  const uid = process.getuid?.() ?? 0;
  return {
    about: [
      `It runs the server of ${wj.adminUrl} on the same state folder, with its models beside it in`,
      "containers of the same engine, whose socket it gets: that makes it as mighty as root on this machine. Stop the",
      "other one first (windjammer stop), then: docker compose up",
      OTHER_FLAGS,
    ],
    image,
    command: [...program(image), "start", "--runtime", "docker", ...base, ...ports, ...folders],
    user: `${uid}:${process.getgid?.() ?? 0}`,
    groups: uid === 0 ? [] : [group],
    environment: { HOME: stateDir, DOCKER_HOST: `unix://${socket}` },
    // One that was asked with a token wants one again.
    needsToken: (token ?? tokenFromEnvironment()) !== undefined,
    ports: "host",
    volumes: [stateDir, socket].map((path) => ({ source: path, target: path })),
    adminPort,
  };
}

function program(image: string | undefined): readonly string[] {
  return image === undefined ? ["npx", "--yes", `windjammer@${packageVersion()}`] : ["windjammer"];
}

/** @throws InvalidOptionsError */
async function checkStateDir(stateDir: string, wj: Windjammer): Promise<void> {
  const isThere = await access(join(stateDir, REGISTRY_FILE)).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  throw new InvalidOptionsError(
    `${stateDir} is no state folder of a server; name the one that ${wj.adminUrl} was started with: --state-dir`,
    { details: { option: "stateDir" } },
  );
}

/** @throws UnsupportedModelError */
async function refusePython(wj: Windjammer): Promise<void> {
  const python = (await openedVersions(wj)).filter(
    ({ manifest: { container } }) => container?.kind === "python" || container?.kind === "command",
  );
  if (python.length === 0) return;
  const names = [...new Set(python.map(({ model }) => model))];
  throw new UnsupportedModelError(
    `${names.join(", ")} need${names.length === 1 ? "s" : ""} programs that ${IMAGE} does not have, such as Python; name an image that has them, and windjammer: --image`,
    { details: { models: names } },
  );
}
