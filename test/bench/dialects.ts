// Part "dialects": what the same queries to the same function cost by each dialect, as ratios to Clipper's.
import { deployFunction } from "windjammer";
import { randomNumbers } from "../core/query/batching/random.ts";
import { requestBytes } from "./connection.ts";
import { grpcQueries } from "./grpc-queries.ts";
import { file, interleaved, type Effort, type Lab, type LabOptions } from "./lab.ts";
import type { Workload } from "./load.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratio } from "./statistics.ts";

const BODIES = 256;
const VERTEX_ROUTE = "/predict-by-vertex";

/** What the server has to be told to speak all of them. */
export const DIALECTS_LAB: LabOptions = {
  args: ["--grpc-port", "0"],
  env: { AIP_PREDICT_ROUTE: VERTEX_ROUTE, AIP_HEALTH_ROUTE: "/health-by-vertex" },
};

export async function measureDialects(
  lab: Lab,
  connections: readonly number[],
  effort: Effort,
): Promise<Table> {
  await deployFunction(lab.client, {
    name: "first",
    version: "1",
    inputType: "doubles",
    module: file("models/first.ts"),
  });
  const pids = await lab.pidsOf("first");
  const rows: Table["rows"][number][] = [];
  for (const length of [4, 784]) {
    const dialects = await dialectsOf(lab, length);
    for (const count of connections) {
      const targets = dialects.map(({ workload }) => ({ workload, pids }));
      const samples = await interleaved(targets, count, effort);
      const [clipper = []] = samples;
      for (const [index, { name }] of dialects.entries()) {
        const own = samples[index] ?? [];
        const over = (key: "cpuUs" | "allCpuUs" | "perSecond"): ReturnType<typeof ratio> =>
          ratio(
            own.map((one) => one[key]),
            clipper.map((one) => one[key]),
          );
        rows.push([
          `${length} numbers`,
          count,
          name,
          figureOf(own, (one) => one.perSecond),
          over("perSecond"),
          over("cpuUs"),
          over("allCpuUs"),
          figureOf(own, (one) => one.p50Ms).median,
        ]);
      }
    }
  }
  return {
    part: "dialects",
    yardstick:
      "Yardstick: the Clipper dialect, asked for the same predictions in turn with the others. Not here: generate, which takes text and these inputs are numbers. The gRPC client costs the machine more than the others' ready-made bytes do, so of its rows the CPU counts, not the rate.",
    columns: [
      "input",
      "connections",
      "dialect",
      "requests/s",
      "rate ÷ Clipper",
      "frontend CPU ÷ Clipper",
      "all CPU ÷ Clipper",
      "p50 ms",
    ],
    rows,
  };
}

interface NamedWorkload {
  readonly name: string;
  readonly workload: Workload;
}

function isPredicted(index: number, body: string): boolean {
  return body === `{"predictions":[${index}]}`;
}

function isInferred(index: number, body: string): boolean {
  return body.includes(`"data":["${index}"]`);
}

async function dialectsOf(lab: Lab, length: number): Promise<readonly NamedWorkload[]> {
  const { url } = lab.client;
  const random = randomNumbers(length);
  const inputs = Array.from({ length: BODIES }, (_, index) => [
    index,
    ...Array.from({ length: length - 1 }, () => Number(random().toFixed(6))),
  ]);
  const infer = `${url}/v2/models/first/infer`;
  const tensor = { name: "input", datatype: "FP64", shape: [1, length] };
  const json = inputs.map((data) => requestBytes(infer, JSON.stringify({ inputs: [{ ...tensor, data }] })));
  const header = JSON.stringify({
    inputs: [{ ...tensor, parameters: { binary_data_size: length * 8 } }],
  });
  const binary = inputs.map((data) =>
    requestBytes(infer, Buffer.concat([Buffer.from(header), Buffer.from(new Float64Array(data).buffer)]), [
      `Inference-Header-Content-Length: ${header.length}`,
    ]),
  );
  const withInstances = (name: string, path: string): NamedWorkload => {
    const requests = inputs.map((input) => requestBytes(url + path, JSON.stringify({ instances: [input] })));
    return { name, workload: { url, requests, isRight: isPredicted } };
  };
  const { grpcAddress = "" } = lab;
  return [
    { name: "Clipper", workload: firstNumberQueries(`${url}/first/predict`, length) },
    { name: "OIP, JSON", workload: { url: infer, requests: json, isRight: isInferred } },
    { name: "OIP, binary", workload: { url: infer, requests: binary, isRight: isInferred } },
    { name: "gRPC, typed", workload: await grpcQueries(grpcAddress, inputs, "typed") },
    { name: "gRPC, raw", workload: await grpcQueries(grpcAddress, inputs, "raw") },
    withInstances("KServe V1", "/v1/models/first:predict"),
    withInstances("SageMaker", "/invocations"),
    withInstances("Vertex AI", VERTEX_ROUTE),
  ];
}
