// Exchanges of gRPC, byte for byte: messages made by hand from the field numbers of the protocol, over plain HTTP/2.
import type { IncomingHttpHeaders } from "node:http";
import { connect, constants } from "node:http2";
import { expect, onTestFinished, test } from "vitest";
import type { Tensor } from "../../../../containers/tensors.ts";
import { Catalog } from "../../../../core/frontend/dialects/oip/catalog.ts";
import { GrpcServer } from "../../../../core/frontend/grpc/server.ts";
import { BatchOutputs } from "../../../../core/query/query.ts";
import { fakes, tensorManifest } from "../../query/fakes.ts";

/** A server of one model that gives its two numbers back; its address. */
async function serve(): Promise<string> {
  const specs = [{ name: "x", datatype: "FP32", shape: [2] }] as const;
  const parts = fakes(tensorManifest(specs, specs), {}, (query) => {
    const { data = new Uint8Array() } = query.row.tensors[0] ?? {};
    const tensor: Tensor = { name: "x", datatype: "FP32", shape: [1, 2], data };
    query.settle({ kind: "ok", outputs: new BatchOutputs([tensor], 1), index: 0 });
  });
  const server = new GrpcServer({
    predictor: parts.predictor,
    catalog: new Catalog({ ...parts, serverName: "windjammer", isReady: () => true }),
    port: 0,
    config: {
      host: "127.0.0.1",
      maxBodyBytes: 2 ** 20,
      maxInputs: 10,
      token: undefined,
      grpcReflection: false,
    },
  });
  const address = await server.listen();
  onTestFinished(() => server.close(0));
  return address;
}

/** Asks with one frame; gives the reply's frame as hex, and the status and message in its trailers. */
async function ask(
  path: string,
  frame: string,
): Promise<readonly [hex: string, status: string, message: string]> {
  const session = connect(`http://${await serve()}`);
  onTestFinished(() => session.destroy());
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: "POST",
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
    [constants.HTTP2_HEADER_TE]: "trailers",
  });
  // Without a message, what else would be in the trailers is in the headers.
  let ends: IncomingHttpHeaders = {};
  stream.on("response", (headers) => (ends = { ...ends, ...headers }));
  stream.on("trailers", (trailers) => (ends = { ...ends, ...trailers }));
  stream.end(Buffer.from(frame.replaceAll(" ", ""), "hex"));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return [
    Buffer.concat(chunks).toString("hex"),
    ends["grpc-status"]?.toString() ?? "",
    ends["grpc-message"]?.toString() ?? "",
  ];
}

const INFER = "/inference.GRPCInferenceService/ModelInfer";
const STREAM = "/inference.GRPCInferenceService/ModelStreamInfer";
/** 1: "digits" */
const MODEL = "0a06 646967697473";
const VERSION = "1201 31";
const ID = "1a01 37";
/** name 1: "x", datatype 2: "FP32", shape 3: [1, 2] */
const TENSOR = "0a01 78 1204 46503332 1a02 0102";
/** 1 and 2 */
const FLOATS = "0000803f 00000040";
const RAW_REPLY = `${MODEL} ${VERSION} ${ID} 2a0d ${TENSOR} 3208 ${FLOATS}`;

const CASES: readonly (readonly [what: string, path: string, sent: string, reply: string])[] = [
  [
    "raw contents",
    INFER,
    `00 00000024 ${MODEL} ${ID} 2a0d ${TENSOR} 3a08 ${FLOATS}`,
    `00 00000027 ${RAW_REPLY}`,
  ],
  [
    "typed contents",
    INFER,
    `00 00000026 ${MODEL} ${ID} 2a19 ${TENSOR} 2a0a 3208 ${FLOATS}`,
    `00 00000029 ${MODEL} ${VERSION} ${ID} 2a19 ${TENSOR} 2a0a 3208 ${FLOATS}`,
  ],
  [
    "a stream",
    STREAM,
    `00 00000024 ${MODEL} ${ID} 2a0d ${TENSOR} 3a08 ${FLOATS}`,
    `00 00000029 1227 ${RAW_REPLY}`,
  ],
  ["the server is ready", "/inference.GRPCInferenceService/ServerReady", "00 00000000", "00 00000002 0801"],
  [
    "the model is ready",
    "/inference.GRPCInferenceService/ModelReady",
    `00 00000008 ${MODEL}`,
    "00 00000002 0801",
  ],
  [
    "the repository's index",
    "/inference.GRPCInferenceService/RepositoryIndex",
    "00 00000000",
    // The empty reason is written, which protobuf leaves open.
    `00 00000016 0a14 ${MODEL} ${VERSION} 1a05 5245414459 2200`,
  ],
  ["health", "/grpc.health.v1.Health/Check", "00 00000000", "00 00000002 0801"],
];

test.each(CASES)("%s", async (...[, path, sent, reply]) => {
  expect(await ask(path, sent)).toEqual([reply.replaceAll(" ", ""), "0", expect.anything()]);
});

test("an unknown model", async () => {
  const sent = `00 0000000f 0a06 6e6f626f6479 ${ID} 2a020a00`;
  const message = "Request for unknown model: 'nobody' is not found";
  const [hex, status, said] = await ask(INFER, sent);
  expect([hex, status, decodeURIComponent(said)]).toEqual(["", "5", message]);
});

test("reflection is off unless it is asked for", async () => {
  const [hex, status] = await ask(
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "00 00000002 3a00",
  );
  expect([hex, status]).toEqual(["", "12"]);
});
