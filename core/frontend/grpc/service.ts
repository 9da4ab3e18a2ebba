// The calls of inference.GRPCInferenceService and grpc.health.v1.Health.
import type * as grpc from "@grpc/grpc-js";
import { InvalidRequestError, NotImplementedError } from "../../errors.ts";
import type { Catalog } from "../dialects/oip/catalog.ts";
import { type GrpcInferParts, inferByGrpc, type InferMessage } from "./infer.ts";
import { grpcError } from "./status.ts";
import { answerStream } from "./stream.ts";

type Grpc = typeof grpc;
type Message = Readonly<Record<string, unknown>>;

export interface ServiceParts extends GrpcInferParts {
  readonly catalog: Catalog;
  /** Throws unless the caller may load and unload models. */
  readonly guard: (metadata: grpc.Metadata) => void;
  /** Aborted when the server closes. */
  readonly closing: AbortSignal;
}

export function inferenceService(library: Grpc, parts: ServiceParts): grpc.UntypedServiceImplementation {
  const { catalog, guard } = parts;
  const unary =
    (answer: (message: Message, metadata: grpc.Metadata) => object | Promise<object>) =>
    (call: grpc.ServerUnaryCall<Message, object>, done: grpc.sendUnaryData<object>): void => {
      void respond(library, async () => answer(call.request, call.metadata), done);
    };
  return {
    ServerLive: unary(() => ({ live: true })),
    ServerReady: unary(() => ({ ready: catalog.isReady() })),
    ModelReady: unary((message) => ({ ready: catalog.isModelReady(...named(message)) })),
    ServerMetadata: unary(() => catalog.server()),
    ModelMetadata: unary((message) => catalog.model(...named(message))),
    ModelConfig: unary((message) => ({ config: catalog.config(...named(message)) })),
    ModelStatistics: unary(async (message) => ({
      model_stats: await catalog.statistics(...named(message)),
    })),
    RepositoryIndex: unary((message) => {
      refuseRepository(message["repository_name"]);
      return { models: catalog.index(message["ready"] === true) };
    }),
    RepositoryModelLoad: unary(async (message, metadata) => {
      guard(metadata);
      const name = repositoryModel(message);
      await catalog.load(name, message["parameters"] as Message);
      return { model_name: name, isLoaded: true };
    }),
    RepositoryModelUnload: unary(async (message, metadata) => {
      guard(metadata);
      const name = repositoryModel(message);
      await catalog.unload(name);
      return { model_name: name, isUnloaded: true };
    }),
    ModelInfer: (call: grpc.ServerUnaryCall<InferMessage, object>, done: grpc.sendUnaryData<object>) => {
      void respond(library, async () => infer(parts, call, call.request), done);
    },
    ModelStreamInfer: (call: grpc.ServerDuplexStream<InferMessage, object>) => {
      answerStream(library, call, {
        closing: parts.closing,
        answer: (message) => infer(parts, call, message),
      });
    },
  };
}

async function respond(
  library: Grpc,
  answer: () => Promise<object>,
  done: grpc.sendUnaryData<object>,
): Promise<void> {
  try {
    done(null, await answer());
  } catch (error) {
    done(grpcError(library, error));
  }
}

/** What of a call matters to its queries. */
interface Caller {
  getDeadline(): grpc.Deadline;
  on(event: "cancelled", listener: () => void): unknown;
  off(event: "cancelled", listener: () => void): unknown;
}

function infer(parts: ServiceParts, caller: Caller, message: InferMessage): Promise<object> {
  const { promise, resolve, reject } = Promise.withResolvers<object>();
  const sent = inferByGrpc(parts, {
    message,
    deadlineMs: untilDeadline(caller.getDeadline()),
    reply: (build) => {
      try {
        resolve(build());
      } catch (error) {
        reject(error);
      }
    },
  });
  const abandon = (): void => sent.abandon();
  caller.on("cancelled", abandon);
  return promise.finally(() => caller.off("cancelled", abandon));
}

function untilDeadline(deadline: grpc.Deadline): number {
  const at = typeof deadline === "number" ? deadline : deadline.getTime();
  return Number.isFinite(at) ? Math.max(1, at - Date.now()) : Infinity;
}

function named({ name, version }: Message): [string, string | undefined] {
  return [String(name), typeof version === "string" && version !== "" ? version : undefined];
}

function refuseRepository(name: unknown): void {
  if (name !== "") throw new NotImplementedError("'repository_name' specification is not supported");
}

/** Two forms of the protocol number the model's name differently. */
function repositoryModel({ model_name: model, repository_name: repository }: Message): string {
  if (model !== "" && repository !== "") refuseRepository(repository);
  const name = String(model) || String(repository);
  if (name === "") throw new InvalidRequestError("model_name: expected a model's name, got none");
  return name;
}

const SERVING = { status: "SERVING" } as const;
const NOT_SERVING = { status: "NOT_SERVING" } as const;

/** Services whose health is told; "" is the whole server. */
const SERVICES: ReadonlySet<string> = new Set([
  "",
  "inference.GRPCInferenceService",
  "grpc.health.v1.Health",
]);

export function healthService(
  library: Grpc,
  { catalog, closing }: ServiceParts,
): grpc.UntypedServiceImplementation {
  const state = (): object => (catalog.isReady() && !closing.aborted ? SERVING : NOT_SERVING);
  return {
    Check: (call: grpc.ServerUnaryCall<{ service: string }, object>, done: grpc.sendUnaryData<object>) => {
      if (SERVICES.has(call.request.service)) done(null, state());
      else done({ code: library.status.NOT_FOUND, details: "unknown service" });
    },
    Watch: (call: grpc.ServerWritableStream<{ service: string }, object>) => {
      const isKnown = SERVICES.has(call.request.service);
      call.write(isKnown ? state() : { status: "SERVICE_UNKNOWN" });
      const closed = (): void => {
        call.write(NOT_SERVING);
        call.end();
      };
      closing.addEventListener("abort", closed, { once: true });
      call.on("cancelled", () => closing.removeEventListener("abort", closed));
    },
  };
}
