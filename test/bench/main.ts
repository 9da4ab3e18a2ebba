// `npm run bench`: every part in turn, one table each, figures as ratios to a yardstick of the same run.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { measureBatching } from "./batching.ts";
import { BINARY_LAB, measureBinary } from "./binary.ts";
import { measureCache } from "./caching.ts";
import { DIALECTS_LAB, measureDialects } from "./dialects.ts";
import { ALL_POLICIES, measureGoodput } from "./goodput.ts";
import { measureImages } from "./images.ts";
import { measureIsolation } from "./isolation.ts";
import { type Effort, type Lab, type LabOptions, startLab, startPlain } from "./lab.ts";
import { measureModels } from "./model-bound.ts";
import { type OnnxModels, writeOnnxModels } from "./onnx-models.ts";
import { measurePath, type Peer } from "./path.ts";
import { Report, type Table } from "./report.ts";
import { measureApplications, measureReplicas } from "./scale.ts";
import { measureSituations } from "./situations.ts";
import { secondsOf, soak } from "./soak.ts";
import { measureStart } from "./start.ts";

const HELP = `npm run bench -- [options]
  --quick              less of everything, under a minute
  --parts a,b          of path, binary, dialects, model, batching, cache, goodput, situations, applications, replicas, start, isolation
                       and images (which need Docker);
                       default: all but these two; with --quick: path, goodput
  --connections 1,64   of the part path
  --seconds 2          a sample
  --repeats 7          samples of each, interleaved
  --peer name=url      any other server in the table of the part path: takes {"input": [784 numbers]} by POST
  --base-image image   of the parts isolation and images
  --soak 10m           nothing but load for so long
  --readme             prints the README's table of speed behind the others
  --json file          writes all figures as JSON, too`;

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    parts: { type: "string" },
    connections: { type: "string" },
    seconds: { type: "string" },
    repeats: { type: "string" },
    peer: { type: "string", multiple: true, default: [] },
    "base-image": { type: "string" },
    soak: { type: "string" },
    readme: { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const { quick } = flags;
const effort: Effort = {
  seconds: Number(flags.seconds ?? (quick ? 0.5 : 2)),
  repeats: Number(flags.repeats ?? (quick ? 3 : 7)),
};
const peers: readonly Peer[] = flags.peer.map((text) => {
  const at = text.indexOf("=");
  return { name: text.slice(0, at), url: text.slice(at + 1) };
});

const PARTS: Readonly<Record<string, (models: OnnxModels) => Promise<Table>>> = {
  path: async (models) => {
    await using echo = await startPlain("echo-server");
    await using ingress = await startPlain("ingress-server");
    const connections = (flags.connections ?? (quick ? "1,64" : "1,16,64,256")).split(",").map(Number);
    return await inLab((lab) => measurePath({ lab, echo, ingress, models, peers, connections, effort }));
  },
  dialects: () => inLab((lab) => measureDialects(lab, quick ? [64] : [1, 64], effort), DIALECTS_LAB),
  binary: async (models) => {
    await using echo = await startPlain("echo-server");
    await using ingress = await startPlain("ingress-server", "tensor");
    return await inLab((lab) => measureBinary({ lab, echo, ingress, models, effort }), BINARY_LAB);
  },
  model: ({ mlp, convnet }) => inLab((lab) => measureModels({ lab, models: { mlp, convnet }, effort })),
  batching: () => inLab((lab) => measureBatching(lab, effort)),
  goodput: () =>
    inLab((lab) =>
      measureGoodput(lab, {
        seconds: quick ? 3 : 20,
        loads: quick ? [0.9, 1.5] : [0.5, 0.9, 1.1, 1.5],
        policies: quick ? ["slo"] : ALL_POLICIES,
        hasBursts: !quick,
      }),
    ),
  situations: () => inLab((lab) => measureSituations(lab, quick ? 4 : 20)),
  cache: ({ mlp, convnet }) => inLab((lab) => measureCache(lab, { mlp, convnet }, effort)),
  applications: () => measureApplications(quick ? [1, 1000] : [1, 10, 100, 1000], effort),
  replicas: () => inLab((lab) => measureReplicas(lab, quick ? [1, 4] : [1, 4, 16, 64], effort)),
  start: (models) => measureStart([0, 1000], models.mlp, effort.repeats),
  isolation: () => measureIsolation(flags["base-image"], effort),
  images: () => measureImages(flags["base-image"]),
};

const NEED_DOCKER: ReadonlySet<string> = new Set(["isolation", "images"]);

async function inLab(measure: (lab: Lab) => Promise<Table>, options?: LabOptions): Promise<Table> {
  await using lab = await startLab(options);
  return await measure(lab);
}

function soakFor(seconds: number): Promise<Table> {
  return inLab((lab) => soak(lab, seconds));
}

async function main(): Promise<void> {
  const byDefault = quick ? ["path", "goodput"] : Object.keys(PARTS).filter((part) => !NEED_DOCKER.has(part));
  const names = flags.parts?.split(",") ?? byDefault;
  const folder = await mkdtemp(join(tmpdir(), "windjammer-bench-models-"));
  try {
    const models = await writeOnnxModels(folder);
    const report = new Report();
    for (const name of flags.soak === undefined ? names : []) {
      const part = PARTS[name];
      if (part === undefined) throw new Error(`no part ${name}; they are ${Object.keys(PARTS).join(", ")}`);
      report.add(await part(models));
    }
    if (flags.soak !== undefined) report.add(await soakFor(secondsOf(flags.soak)));
    if (flags.readme) report.printTargets();
    if (flags.json !== undefined) await report.write(flags.json);
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (flags.help) console.log(HELP);
else await main();
