// Other products that serve the benchmark's MLP: how each is installed, started and ended. Their servers are in peers/.
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../helpers/free-ports.ts";
import { file } from "./lab.ts";
import { treeOf } from "./processes.ts";

export interface PeerServer {
  readonly name: string;
  /** In peers/; gets the model's path and a port. */
  readonly program: string;
  readonly packages: readonly string[];
  readonly env?: (port: number) => Readonly<Record<string, string>>;
}

const ONNX = ["onnxruntime==1.30.0", "numpy"];
const FASTAPI = ["fastapi==0.142.2", "uvicorn[standard]==0.54.0", "orjson", ...ONNX];
/** What `ray[serve]` asks for, without its dashboard and its HAProxy, which are not used. */
const RAY = [
  ...ONNX,
  "ray==2.58.0",
  "fastapi",
  "starlette",
  "uvicorn[standard]",
  "aiohttp",
  "requests",
  "jinja2",
  "grpcio",
  "prometheus-client",
  "smart-open",
  "watchfiles",
  "mmh3",
  "py-spy",
  "virtualenv",
];

export const PEER_SERVERS: readonly PeerServer[] = [
  { name: "FastAPI, as in its tutorial", program: "fastapi_naive.py", packages: FASTAPI },
  { name: "FastAPI, batcher by hand", program: "fastapi_greedy.py", packages: FASTAPI },
  { name: "Ray Serve", program: "ray_serve.py", packages: RAY },
  {
    name: "Ray Serve, without its proxy",
    program: "ray_serve.py",
    packages: RAY,
    env: (port) => ({
      RAY_SERVE_THROUGHPUT_OPTIMIZED: "1",
      RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT: String(port),
      RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT: String(port + 1),
      WINDJAMMER_BENCH_PROXY_PORT: "0",
    }),
  },
];

export interface RunningPeer extends AsyncDisposable {
  readonly url: string;
  /** The end of what it said, once its first process has ended. */
  readonly lastWords: () => string | undefined;
  pids(): Promise<readonly number[]>;
}

const run = promisify(execFile);

/**
 * Installs a peer's packages into a virtual environment, once: it stays in the system's temporary folder.
 * @throws Error with pip's last lines
 */
export async function installPeer({ packages }: PeerServer): Promise<string> {
  const hash = createHash("sha256").update(packages.join(" ")).digest("hex").slice(0, 12);
  const folder = join(tmpdir(), `windjammer-bench-peer-${hash}`);
  const python = join(folder, "bin", "python");
  const installed = join(folder, "installed");
  const isThere = await run(python, ["-c", `open(${JSON.stringify(installed)})`]).then(
    () => true,
    () => false,
  );
  if (isThere) return python;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await run("python3", ["-m", "venv", folder]);
  // An index that does not answer is not asked again and again for each package.
  const env = { ...process.env, PIP_RETRIES: "0" };
  await run(python, ["-m", "pip", "install", "--quiet", ...packages], { env, maxBuffer: 2 ** 26 });
  await writeFile(installed, packages.join("\n"));
  return python;
}

/** Starts a peer; it may not answer yet. */
export async function startPeer(
  { program, env }: PeerServer,
  python: string,
  model: string,
): Promise<RunningPeer> {
  const port = await freePort();
  const child = spawn(python, [file(`peers/${program}`), model, String(port)], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env?.(port) },
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${python} could not be started`);
  const gone = once(child, "exit");
  return {
    url: `http://127.0.0.1:${port}/predict`,
    lastWords: () => (child.exitCode === null ? undefined : said),
    pids: () => treeOf(pid),
    async [Symbol.asyncDispose](): Promise<void> {
      // Ray's processes outlive the one that started them.
      for (const one of await treeOf(pid)) kill(one);
      await gone;
    },
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It went with its parent.
  }
}
