// `windjammer clipper-labels`: the Docker labels by which Clipper's Python library finds a frontend that runs in a container.
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { defaultStateDir } from "../environment.ts";
import { InvalidOptionsError, isNodeError } from "../errors.ts";
import { Output } from "./output.ts";
import { parsePort } from "./values.ts";

interface LabelOptions {
  readonly cluster: string;
  readonly port: number;
  readonly adminPort: number;
  readonly rpcPort: number;
  readonly metricConfig?: string;
  readonly json?: true;
}

/** What the library expects in its Prometheus configuration: it adds its containers there. */
const EMPTY_CONFIG = "scrape_configs: []\n";

export function clipperLabelsCommand(): Command {
  return new Command("clipper-labels")
    .description("print docker run's --label options for a frontend that Clipper's Python library is to find")
    .option("--cluster <name>", "cluster_name of the library's DockerContainerManager", "default-cluster")
    .option("--port <port>", "published port of the query API", parsePort, 1337)
    .option("--admin-port <port>", "published port of Clipper's management API", parsePort, 1339)
    .option("--rpc-port <port>", "published port of Clipper's model containers", parsePort, 7000)
    .option(
      "--metric-config <file>",
      "file in which the library keeps its Prometheus configuration, made if it is not there (default: in the state folder)",
    )
    .option("--json", "print them as a JSON object")
    .action(printLabels);
}

async function printLabels(options: LabelOptions): Promise<void> {
  const { metricConfig = join(defaultStateDir(), "clipper-metrics.yml") } = options;
  const file = resolve(metricConfig);
  await makeConfig(file, options.metricConfig === undefined);
  const labels = clipperLabels({ ...options, metricConfig: file });
  new Output(options).result(labels, () =>
    Object.entries(labels)
      .map(([name, value]) => `--label ${name}=${value}`)
      .join("\n"),
  );
}

/** The library reads ports from all containers of its cluster; this one is all of them. */
function clipperLabels(options: LabelOptions): Readonly<Record<string, string>> {
  return {
    "ai.clipper.container.label": options.cluster,
    "ai.clipper.query_frontend.label": "",
    "ai.clipper.management_frontend.label": "",
    "ai.clipper.query_frontend.query.port": String(options.port),
    "ai.clipper.query_frontend.rpc.port": String(options.rpcPort),
    "ai.clipper.management.port": String(options.adminPort),
    // There is none, and the library reads it all the same.
    "ai.clipper.redis.port": "0",
    // It says "reload" there when its containers change, and our query API takes it.
    "ai.clipper.metric.port": String(options.port),
    "ai.clipper.metric.config": options.metricConfig ?? "",
  };
}

async function makeConfig(file: string, isInStateDir: boolean): Promise<void> {
  if (isInStateDir) {
    const { makeStateDir } = await import("../registry/state-dir.ts");
    makeStateDir(defaultStateDir());
  }
  try {
    await writeFile(file, EMPTY_CONFIG, { flag: "wx" });
  } catch (error) {
    if (isNodeError(error) && error.code === "EEXIST") return;
    throw new InvalidOptionsError(`--metric-config ${file} cannot be written: ${(error as Error).message}`, {
      cause: error,
      details: { option: "metricConfig", file },
    });
  }
}
