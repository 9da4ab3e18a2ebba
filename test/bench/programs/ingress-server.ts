// The frontend without a hop: its own HTTP server, dialect, contract check, router and metrics before a version that
// answers each query at once with its first number: of a list of doubles or, with the argument "tensor", of a tensor of
// 784 floats.
import { encodeBytes } from "../../../containers/tensors.ts";
import type { ServerConfig } from "../../../core/config.ts";
import { QueryServer } from "../../../core/frontend/server.ts";
import { createLog } from "../../../core/log.ts";
import { BatchOutputs, type Query } from "../../../core/query/query.ts";
import { fakes, tensorManifest, valueManifest } from "../../core/query/fakes.ts";
import { PIXELS } from "../onnx-models.ts";

const isTensor = process.argv[2] === "tensor";

function answer(query: Query): void {
  const { data } = query.row.tensors[0] as { data: Uint8Array };
  const view = new DataView(data.buffer, data.byteOffset);
  const first = isTensor ? view.getFloat32(0, true) : view.getFloat64(0, true);
  const text = Buffer.from(String(first));
  const tensor = {
    name: "output",
    datatype: "BYTES",
    shape: [1],
    data: encodeBytes([text]),
    contentType: "json",
  } as const;
  query.settle({ kind: "ok", outputs: new BatchOutputs([tensor], 1), index: 0 });
}

const { predictor, router, metrics, served } = fakes(
  isTensor
    ? tensorManifest([{ name: "pixels", datatype: "FP32", shape: [PIXELS] }])
    : valueManifest("doubles"),
);
// What it was given is not to be kept.
served.enqueue = answer;
const config: Pick<ServerConfig, "host" | "port" | "maxBodyBytes" | "maxInputs" | "requestTimeoutMs"> = {
  host: "127.0.0.1",
  port: 0,
  maxBodyBytes: 2 ** 26,
  maxInputs: 1000,
  requestTimeoutMs: 30_000,
};
const server = new QueryServer({ predictor, router, metrics, config, log: createLog("warn") });
console.log(`${await server.listen()}/digits/predict`);
