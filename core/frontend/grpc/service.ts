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
  const { catalog, guard, closing } = parts;
  const unary =
    (answer: (message: Message, metadata: grpc.Metadata) => object | Promise<object>) =>
    (call: grpc.ServerUnaryCall<Message, object>, done: grpc.sendUnaryData<object>): void => {
      void respond(library, async () => answer(call.request, call.metadata), done);
    };
  return {
    ServerLive: unary(() => ({ live: true })),
    ServerReady: unary(() => ({ ready: catalog.isReady() && !closing.aborted })),
    ModelReady: unary((message) => ({ ready: catalog.isModelReady(...named(message)) && !closing.aborted })),
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

/** Services whose health is the whole server's; any other name is a model's. */
const SERVICES: ReadonlySet<string> = new Set([
  "",
  "inference.GRPCInferenceService",
  "grpc.health.v1.Health",
]);
/** How often readiness is looked at for those that watch it: replicas come and go without anybody telling. */
const WATCH_MS = 500;

type Health = "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";

export function healthService(library: Grpc, parts: ServiceParts): grpc.UntypedServiceImplementation {
  return {
    Check: (call: grpc.ServerUnaryCall<{ service: string }, object>, done: grpc.sendUnaryData<object>) => {
      const status = healthOf(call.request.service, parts);
      if (status === "SERVICE_UNKNOWN") done({ code: library.status.NOT_FOUND, details: "unknown service" });
      else done(null, { status });
    },
    Watch: (call: grpc.ServerWritableStream<{ service: string }, object>) => watch(call, parts),
  };
}

function healthOf(service: string, { catalog, closing }: ServiceParts): Health {
  if (closing.aborted) return "NOT_SERVING";
  if (SERVICES.has(service)) return catalog.isReady() ? "SERVING" : "NOT_SERVING";
  try {
    return catalog.isModelReady(service) ? "SERVING" : "NOT_SERVING";
  } catch {
    return "SERVICE_UNKNOWN";
  }
}

/** Says how it stands, and again whenever that changes, until the caller or the server goes. */
function watch(call: grpc.ServerWritableStream<{ service: string }, object>, parts: ServiceParts): void {
  const { closing } = parts;
  let said: Health | undefined;
  const look = (): void => {
    const status = healthOf(call.request.service, parts);
    if (status === said) return;
    said = status;
    call.write({ status });
  };
  const timer = setInterval(look, WATCH_MS);
  const end = (): void => {
    look();
    call.end();
    stop();
  };
  const stop = (): void => {
    clearInterval(timer);
    closing.removeEventListener("abort", end);
  };
  closing.addEventListener("abort", end, { once: true });
  call.on("cancelled", stop);
  call.on("error", stop);
  look();
}
