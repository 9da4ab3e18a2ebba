// Part "dialects": what the same queries to the same function cost by each dialect, as ratios to Clipper's.
import { deployFunction } from "windjammer";
import { randomNumbers } from "../core/query/batching/random.ts";
import { requestBytes } from "./connection.ts";
import { grpcQueries } from "./grpc-queries.ts";
import { file, interleaved, type Effort, type Lab, type LabOptions } from "./lab.ts";
import type { Workload } from "./load.ts";
import { firstNumberQueries, isInferred } from "./queries.ts";
import type { Table } from "./report.ts";
import { oipBinary, oipJson, type Shape } from "./shapes.ts";
import { figureOf, ratioOf } from "./statistics.ts";

const BODIES = 256;
const TEXT_LENGTH = 200;
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
  const deploy = async (name: string, inputType: "doubles" | "strings"): Promise<readonly number[]> => {
    await deployFunction(lab.client, { name, version: "1", inputType, module: file(`models/${name}.ts`) });
    return lab.pidsOf(name);
  };
  const rows: Table["rows"][number][] = [];
  const measure = async (
    input: string,
    dialects: readonly NamedWorkload[],
    pids: readonly number[],
  ): Promise<void> => {
    for (const count of connections) {
      const targets = dialects.map(({ workload }) => ({ workload, pids }));
      const samples = await interleaved(targets, count, effort);
      for (const [index, { name }] of dialects.entries())
        rows.push([input, count, name, ...figures(samples[index] ?? [], samples[0] ?? [])]);
    }
  };
  const first = await deploy("first", "doubles");
  for (const length of [4, 784]) await measure(`${length} numbers`, await numberDialects(lab, length), first);
  // Not before: SageMaker and Vertex AI ask the only application there is.
  const text = await deploy("first-word", "strings");
  await measure(`${TEXT_LENGTH} characters`, textDialects(lab), text);
  return {
    part: "dialects",
    yardstick:
      "Yardstick: the Clipper dialect, asked for the same predictions in turn with the others. The gRPC client costs the machine more than the others' ready-made bytes do, so of its rows the CPU counts, not the rate.",
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

type Sample = Awaited<ReturnType<typeof interleaved>>[number][number];

function figures(own: readonly Sample[], clipper: readonly Sample[]): Table["rows"][number] {
  return [
    figureOf(own, (one) => one.perSecond),
    ratioOf(own, clipper, (one) => one.perSecond),
    ratioOf(own, clipper, (one) => one.cpuUs),
    ratioOf(own, clipper, (one) => one.allCpuUs),
    figureOf(own, (one) => one.p50Ms).median,
  ];
}

interface NamedWorkload {
  readonly name: string;
  readonly workload: Workload;
}

function isPredicted(index: number, body: string): boolean {
  return body === `{"predictions":[${index}]}`;
}

async function numberDialects(lab: Lab, length: number): Promise<readonly NamedWorkload[]> {
  const { url } = lab.client;
  const random = randomNumbers(length);
  const inputs = Array.from({ length: BODIES }, (_, index) => [
    index,
    ...Array.from({ length: length - 1 }, () => Number(random().toFixed(6))),
  ]);
  const infer = `${url}/v2/models/first/infer`;
  const tensor = { name: "input", datatype: "FP64", shape: [length] } as const;
  const byOip = (name: string, form: Shape): NamedWorkload => ({
    name,
    workload: firstNumberQueries(infer, length, { form, isRight: isInferred }),
  });
  const withInstances = (name: string, path: string): NamedWorkload => {
    const requests = inputs.map((input) => requestBytes(url + path, JSON.stringify({ instances: [input] })));
    return { name, workload: { url, requests, isRight: isPredicted } };
  };
  const { grpcAddress = "" } = lab;
  return [
    { name: "Clipper", workload: firstNumberQueries(`${url}/first/predict`, length) },
    byOip("OIP, JSON", oipJson(tensor)),
    byOip("OIP, binary", oipBinary(tensor)),
    { name: "gRPC, typed", workload: await grpcQueries(grpcAddress, inputs, "typed") },
    { name: "gRPC, raw", workload: await grpcQueries(grpcAddress, inputs, "raw") },
    withInstances("KServe V1", "/v1/models/first:predict"),
    withInstances("SageMaker", "/invocations"),
    withInstances("Vertex AI", VERTEX_ROUTE),
  ];
}

/** Texts whose first word is their place in the list, which the function returns. */
function textDialects({ client: { url } }: Lab): readonly NamedWorkload[] {
  const texts = Array.from({ length: BODIES }, (_, index) => `${index} `.padEnd(TEXT_LENGTH, "lorem ipsum "));
  return TEXT_DIALECTS.map(({ name, path, bodyOf, answer }) => {
    const requests = texts.map((text) => requestBytes(url + path, JSON.stringify(bodyOf(text))));
    const isRight = (index: number, body: string): boolean =>
      body.includes(answer.replace("#", String(index)));
    return { name, workload: { url, requests, isRight } };
  });
}

interface TextDialect {
  readonly name: string;
  readonly path: string;
  readonly bodyOf: (text: string) => object;
  /** Part of the right answer; # stands for the number. */
  readonly answer: string;
}

const TEXT_DIALECTS: readonly TextDialect[] = [
  { name: "Clipper", path: "/first-word/predict", bodyOf: (input) => ({ input }), answer: '"output":"#"' },
  {
    name: "OIP, JSON",
    path: "/v2/models/first-word/infer",
    bodyOf: (text) => ({ inputs: [{ name: "input", datatype: "BYTES", shape: [1], data: [text] }] }),
    answer: String.raw`"data":["\"#\""]`,
  },
  ...["generate", "generate_stream"].map((name) => ({
    name,
    path: `/v2/models/first-word/${name}`,
    bodyOf: (text: string) => ({ text_input: text }),
    answer: '"text_output":"#"',
  })),
];
