// Part "binary": what a row costs that comes as bytes, not as JSON, and how long an image holds the event loop.
import { deployOnnxModel } from "windjammer";
import { Connection } from "./connection.ts";
import { type Effort, file, interleaved, type Lab, type LabOptions, type Plain, type Target } from "./lab.ts";
import { IMAGE, type OnnxModels, PIXELS } from "./onnx-models.ts";
import type { Workload } from "./load.ts";
import { firstNumberQueries, isInferred, rowQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { oipBinary, oipJson, type Shape } from "./shapes.ts";
import { figureOf, quantileOf, ratioOf } from "./statistics.ts";

/** The server says how long its event loop is held. */
export const BINARY_LAB: LabOptions = { nodeOptions: ["--import", file("programs/loop-turns.ts")] };

/** Each is sent alone, so that what it holds the loop for is its own. */
const ALONE = 60;

export interface BinaryParts {
  /** Started with `BINARY_LAB`. */
  readonly lab: Lab;
  readonly echo: Plain;
  /** Started with the argument "tensor". */
  readonly ingress: Plain;
  readonly models: OnnxModels;
  readonly effort: Effort;
}

interface Form extends Target {
  readonly name: string;
}

/** The same rows, sent to the same model in each form: {"input": row}, OIP as JSON, OIP in binary. */
interface Input {
  readonly name: string;
  readonly connections: number;
  readonly echo: Form;
  readonly forms: readonly [Form, ...Form[]];
  /** Whose event loop can be asked. */
  readonly lab?: Lab;
}

export async function measureBinary(parts: BinaryParts): Promise<Table> {
  const { effort } = parts;
  const inputs = [
    atIngress(parts),
    await throughPath(parts, {
      model: "mlp",
      tensor: "pixels",
      shape: [PIXELS],
      connections: 64,
      count: 256,
    }),
    await throughPath(parts, { model: "means", tensor: "image", shape: IMAGE, connections: 4, count: 8 }),
  ];
  const rows: Table["rows"][number][] = [];
  for (const input of inputs) rows.push(...(await measureInput(input, effort)));
  return {
    part: "binary",
    yardstick: `Yardsticks: the same rows as {"input": …}, and a bare node:http server that parses these, asked in turn. Ingress is our frontend with a version that answers in its own process, the whole path one with an ONNX model. A turn is what the event loop does in one go: the longest one of each of ${ALONE} requests, sent one after the other.`,
    columns: [
      "input",
      "connections",
      "sent as",
      "requests/s",
      "frontend CPU µs",
      "frontend CPU ÷ JSON",
      "frontend CPU ÷ OIP, JSON",
      "frontend CPU ÷ echo",
      "p50 ms",
      "longest turn ms, median",
      "90 %",
    ],
    rows,
  };
}

function echoOf({ echo }: BinaryParts, length: number, count: number): Form {
  return { name: "echo", workload: firstNumberQueries(echo.url, length, { count }), pids: echo.pids };
}

function atIngress(parts: BinaryParts): Input {
  const { url, pids } = parts.ingress;
  const oip = `${new URL(url).origin}/v2/models/digits/infer`;
  const tensor = { name: "pixels", datatype: "FP32", shape: [PIXELS] } as const;
  const byOip = (form: Shape): Workload => firstNumberQueries(oip, PIXELS, { form, isRight: isInferred });
  return {
    name: `${PIXELS} numbers, ingress`,
    connections: 64,
    echo: echoOf(parts, PIXELS, 256),
    forms: [
      { name: "JSON", workload: firstNumberQueries(url, PIXELS), pids },
      { name: "OIP, JSON", workload: byOip(oipJson(tensor)), pids },
      { name: "OIP, binary", workload: byOip(oipBinary(tensor)), pids },
    ],
  };
}

interface OnPath {
  readonly model: keyof OnnxModels;
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly connections: number;
  /** Different queries. */
  readonly count: number;
}

async function throughPath(
  parts: BinaryParts,
  { model, tensor, shape, connections, count }: OnPath,
): Promise<Input> {
  const { lab, models } = parts;
  const name = `binary-${model}`;
  await deployOnnxModel(lab.client, { name, version: "1", model: models[model], inputType: "tensor" });
  const pids = await lab.pidsOf(name);
  const url = `${lab.client.url}/v2/models/${name}/infer`;
  const input = { name: tensor, datatype: "FP32", shape } as const;
  const json = await rowQueries({ url: lab.urlOf(name), shape, count });
  const { answers } = json;
  const byOip = (form: Shape): Promise<Workload> => rowQueries({ url, shape, form, count, answers });
  return {
    name: `${shape.length === 1 ? `${PIXELS} numbers` : `image ${shape.join("×")}`}, whole path`,
    connections,
    echo: echoOf(parts, elementsIn(shape), count),
    forms: [
      { name: "JSON", workload: json, pids },
      { name: "OIP, JSON", workload: await byOip(oipJson(input)), pids },
      { name: "OIP, binary", workload: await byOip(oipBinary(input)), pids },
    ],
    lab,
  };
}

async function measureInput(
  { name, connections, echo, forms, lab }: Input,
  effort: Effort,
): Promise<Table["rows"]> {
  const samples = await interleaved([echo, ...forms], connections, effort);
  const [bare = [], json = [], oipJsons = []] = samples;
  const rows: Table["rows"][number][] = [];
  for (const [index, of] of samples.entries()) {
    const form = forms[index - 1];
    rows.push([
      name,
      connections,
      form?.name ?? "echo",
      figureOf(of, (one) => one.perSecond),
      figureOf(of, (one) => one.cpuUs),
      ratioOf(of, json, (one) => one.cpuUs),
      ratioOf(of, oipJsons, (one) => one.cpuUs),
      ratioOf(of, bare, (one) => one.cpuUs),
      figureOf(of, (one) => one.p50Ms).median,
      ...(await turnCells(lab, form)),
    ]);
  }
  return rows;
}

async function turnCells(lab: Lab | undefined, form: Form | undefined): Promise<Table["rows"][number]> {
  if (lab === undefined || form === undefined) return ["–", "–"];
  const turns = await longestTurns(lab, form.workload);
  return [quantileOf(turns, 0.5), quantileOf(turns, 0.9)];
}

function elementsIn(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

async function longestTurns(
  { output }: Lab,
  { url, requests, isRight }: Workload,
): Promise<readonly number[]> {
  const [, probe = ""] = /loop turns at (\S+)/.exec(output) ?? [];
  const longestMs = async (): Promise<number> => Number(await (await fetch(probe)).text());
  const connection = new Connection(url);
  const turns: number[] = [];
  // The first one begins, the next ones have the probe's own beginnings in them.
  for (let round = -5; round < ALONE; round += 1) {
    const index = (round + requests.length) % requests.length;
    await longestMs();
    const { body } = await connection.ask(requests[index] as Buffer);
    const ms = await longestMs();
    if (!isRight(index, body))
      throw new Error(`wrong reply to request ${index} of ${url}: ${body.slice(0, 300)}`);
    if (round >= 0) turns.push(ms);
  }
  connection.close();
  await fetch(`${probe}/end`);
  return turns;
}
