// Queries over gRPC for the load generator: ready-made messages, each caller with a connection of its own.
import * as grpc from "@grpc/grpc-js";
import { load, type ServiceDefinition } from "@grpc/proto-loader";
import type { Caller, ReplyDone } from "./connection.ts";
import type { Workload } from "./load.ts";

/** What of a ModelInferResponse is looked at. */
interface Reply {
  readonly outputs: readonly { readonly contents: { readonly bytes_contents: readonly Buffer[] } | null }[];
  readonly raw_output_contents: readonly Buffer[];
}

/** Before each element of raw bytes stands its length. */
const LENGTH_BYTES = 4;

/** To the function that returns its input's first number, which is the input's place in the list. */
export async function grpcQueries(
  address: string,
  inputs: readonly (readonly number[])[],
  contents: "typed" | "raw",
): Promise<Workload> {
  const proto = new URL("../../core/frontend/grpc/inference.proto", import.meta.url).pathname;
  const definition = await load(proto, { keepCase: true, defaults: true });
  const service = definition["inference.GRPCInferenceService"] as ServiceDefinition;
  const method = service["ModelInfer"] as ServiceDefinition[string];
  const requests = inputs.map((input) => method.requestSerialize(message(input, contents)));
  const known: (string | undefined)[] = [];
  return {
    url: address,
    requests,
    isRight: (index, body) => {
      // Only the first reply to each request is decoded: the load generator has little of the machine to spare.
      if (known[index] === body) return true;
      const reply = method.responseDeserialize(Buffer.from(body, "latin1")) as Reply;
      const isRight = outputOf(reply) === String(index);
      if (isRight) known[index] = body;
      return isRight;
    },
    open: () => new GrpcCaller(address, method.path),
  };
}

function message(input: readonly number[], contents: "typed" | "raw"): object {
  const tensor = { name: "input", datatype: "FP64", shape: [1, input.length] };
  return contents === "typed"
    ? { model_name: "first", inputs: [{ ...tensor, contents: { fp64_contents: input } }] }
    : {
        model_name: "first",
        inputs: [tensor],
        raw_input_contents: [Buffer.from(new Float64Array(input).buffer)],
      };
}

function outputOf({ outputs, raw_output_contents: [raw] }: Reply): string | undefined {
  const bytes = raw?.subarray(LENGTH_BYTES) ?? outputs[0]?.contents?.bytes_contents[0];
  return bytes?.toString();
}

class GrpcCaller implements Caller {
  readonly #client: grpc.Client;
  readonly #path: string;

  constructor(address: string, path: string) {
    // Clients of one address share a connection otherwise.
    const options = { "grpc.use_local_subchannel_pool": 1 };
    this.#client = new grpc.Client(address, grpc.credentials.createInsecure(), options);
    this.#path = path;
  }

  send(request: Buffer, done: ReplyDone): void {
    this.#client.makeUnaryRequest(this.#path, asIs, asIs, request, (error, reply) => {
      if (error === null && reply !== undefined)
        done({ status: 200, body: reply.toString("latin1") }, undefined);
      else done(undefined, error ?? new Error("neither a reply nor an error"));
    });
  }

  close(): void {
    this.#client.close();
  }
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
