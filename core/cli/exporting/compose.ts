// A compose file that runs the same server, on the state folder of the one that was asked, in a container.
import { access } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Windjammer } from "../../client/interface.ts";
import { isImageName } from "../../package-names.ts";
import { defaultStateDir } from "../../environment.ts";
import { InvalidOptionsError, UnsupportedModelError } from "../../errors.ts";
import { packageVersion } from "../../version.ts";
import type { ExportFlags } from "../export.ts";

const IMAGE = "node:24-bookworm-slim";
const STATE = "/state";
const REGISTRY_FILE = "registry.db";

/** @throws InvalidOptionsError (no state folder), UnsupportedModelError (what runs in containers or needs Python) */
export async function composeFile(wj: Windjammer, flags: ExportFlags): Promise<string> {
  const { runtime } = await wj.info();
  if (runtime !== "process") {
    throw new UnsupportedModelError(
      `the server runs models by its ${runtime} runtime, and in a container it would need the engine's socket and the same paths; export compose is for servers of the process runtime`,
      { details: { runtime } },
    );
  }
  const stateDir = resolve(flags.stateDir ?? defaultStateDir());
  await checkStateDir(stateDir, wj);
  const { image } = flags;
  if (image !== undefined && !isImageName(image))
    throw new InvalidOptionsError(`--image: expected the name of an image, got ${JSON.stringify(image)}`);
  if (image === undefined) await refusePython(wj);
  const version = packageVersion();
  const program = image === undefined ? ["npx", "--yes", `windjammer@${version}`] : ["windjammer"];
  const ports = ["--host", "0.0.0.0", "--port", "1337", "--admin-port", "1338"];
  const command = [...program, "start", ...ports, "--state-dir", STATE, "--cache-dir", `${STATE}/cache`];
  const { port } = new URL(wj.url);
  const { port: adminPort } = new URL(wj.adminUrl);
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  return `# Made by \`windjammer export compose\`. It runs the server of ${wj.adminUrl} on the same state folder: stop that one
# first (windjammer stop), then: WINDJAMMER_TOKEN=… docker compose up
services:
  windjammer:
    image: ${JSON.stringify(image ?? IMAGE)}
    command: ${JSON.stringify(command)}
    user: ${JSON.stringify(user)}
    init: true
    restart: unless-stopped
    stop_grace_period: 30s
    environment:
      HOME: ${JSON.stringify(STATE)}
      WINDJAMMER_TOKEN: "\${WINDJAMMER_TOKEN:?set it to a token of at least 16 characters}"
    ports:
      - "127.0.0.1:${port}:1337"
      - "127.0.0.1:${adminPort}:1338"
    volumes:
      - type: bind
        source: ${JSON.stringify(stateDir).replaceAll("$", () => "$$")}
        target: ${JSON.stringify(STATE)}
    healthcheck:
      test: ["CMD", "node", "-e", "fetch('http://127.0.0.1:1338/health/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
      interval: 10s
      timeout: 5s
      retries: 5
      start_period: 120s
`;
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
  const models = await wj.models();
  const versions = await Promise.all(
    models.map(({ name, currentVersion }) => wj.version(name, currentVersion)),
  );
  const python = versions.filter(
    ({ manifest: { container } }) => container?.kind === "python" || container?.kind === "command",
  );
  if (python.length === 0) return;
  const names = python.map(({ model }) => model);
  throw new UnsupportedModelError(
    `${names.join(", ")} need${names.length === 1 ? "s" : ""} programs that ${IMAGE} does not have, such as Python; name an image that has them, and windjammer: --image`,
    { details: { models: names } },
  );
}
