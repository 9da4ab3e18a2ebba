// The parts of the benchmark: what each shows, and how it is run.
import { BINARY_LAB, measureBinary } from "./binary.ts";
import { measureBatching } from "./batching.ts";
import { measureCache } from "./caching.ts";
import { DIALECTS_LAB, measureDialects } from "./dialects.ts";
import { ALL_POLICIES, measureGoodput } from "./goodput.ts";
import { measureImages } from "./images.ts";
import { measureIsolation } from "./isolation.ts";
import { type Lab, type LabOptions, startLab, startPlain } from "./lab.ts";
import { measureModels } from "./model-bound.ts";
import type { OnnxModels } from "./onnx-models.ts";
import type { BenchOptions } from "./options.ts";
import { measurePath } from "./path.ts";
import { measurePeers } from "./peers.ts";
import type { Table } from "./report.ts";
import { measureApplications, measureReplicas } from "./scale.ts";
import { measureSituations } from "./situations.ts";
import { measureStart } from "./start.ts";
import { measureWorkers } from "./workers.ts";

interface Part {
  readonly shows: string;
  /** What it needs that is not on every machine; such a part runs only when it is named. */
  readonly needs?: string;
  readonly measure: (options: BenchOptions, models: OnnxModels) => Promise<Table>;
}

export const PARTS: Readonly<Record<string, Part>> = {
  path: {
    shows: "the frontend and the whole path, against a bare HTTP echo",
    measure: async ({ connections, effort }, models) => {
      await using echo = await startPlain("echo-server");
      await using ingress = await startPlain("ingress-server");
      return await inLab((lab) => measurePath({ lab, echo, ingress, models, connections, effort }));
    },
  },
  binary: {
    shows: "rows as bytes against JSON; how long an image holds the event loop",
    measure: async ({ effort }, models) => {
      await using echo = await startPlain("echo-server");
      await using ingress = await startPlain("ingress-server", "tensor");
      return await inLab((lab) => measureBinary({ lab, echo, ingress, models, effort }), BINARY_LAB);
    },
  },
  dialects: {
    shows: "the dialects against each other",
    measure: ({ isQuick, effort }) =>
      inLab((lab) => measureDialects(lab, isQuick ? [64] : [1, 64], effort), DIALECTS_LAB),
  },
  model: {
    shows: "the whole path against the model in a loop; one replica and two",
    measure: ({ effort }, { mlp, convnet }) =>
      inLab((lab) => measureModels({ lab, models: { mlp, convnet }, effort })),
  },
  batching: {
    shows: "policies and delays on models of known cost",
    measure: ({ effort }) => inLab((lab) => measureBatching(lab, effort)),
  },
  cache: {
    shows: "the prediction cache on and off",
    measure: ({ effort }, { mlp, convnet }) => inLab((lab) => measureCache(lab, { mlp, convnet }, effort)),
  },
  goodput: {
    shows: "answers in time at loads below and above capacity, even and in bursts",
    measure: ({ isQuick }) =>
      inLab((lab) =>
        measureGoodput(lab, {
          seconds: isQuick ? 3 : 8,
          loads: isQuick ? [0.9, 1.5] : [0.5, 0.9, 1.1, 1.5],
          policies: isQuick ? ["slo"] : ALL_POLICIES,
          hasBursts: !isQuick,
        }),
      ),
  },
  situations: {
    shows: "a model that becomes slow, mixed objectives, stragglers cut off",
    measure: ({ isQuick }) => inLab((lab) => measureSituations(lab, isQuick ? 4 : 10)),
  },
  applications: {
    shows: "1 to 1,000 registered applications",
    measure: ({ isQuick, effort }) => measureApplications(isQuick ? [1, 1000] : [1, 10, 100, 1000], effort),
  },
  replicas: {
    shows: "1 to 64 replicas",
    measure: ({ isQuick, effort }) =>
      inLab((lab) => measureReplicas(lab, isQuick ? [1, 4] : [1, 4, 16, 64], effort)),
  },
  workers: {
    shows: "one process that takes predictions, and two",
    measure: ({ effort }) => measureWorkers([1, 2], effort),
  },
  start: {
    shows: "start, memory, CPU when idle",
    measure: ({ effort }, models) => measureStart([0, 1000], models.mlp, effort.repeats),
  },
  isolation: {
    shows: "the Docker runtime against processes",
    needs: "Docker",
    measure: ({ baseImage, effort }) => measureIsolation(baseImage, effort),
  },
  images: {
    shows: "size and build time of images",
    needs: "Docker",
    measure: ({ baseImage }) => measureImages(baseImage),
  },
  peers: {
    shows: "Ray Serve and FastAPI, installed and started one by one, and servers given by --peer",
    needs: "Python and a package index",
    measure: async ({ effort, peers }, models) => {
      await using echo = await startPlain("echo-server");
      return await measurePeers({ echo, models, others: peers, effort });
    },
  },
};

async function inLab(measure: (lab: Lab) => Promise<Table>, options?: LabOptions): Promise<Table> {
  await using lab = await startLab(options);
  return await measure(lab);
}
