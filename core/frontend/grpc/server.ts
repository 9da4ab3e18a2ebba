// The gRPC server: its packages, its port, its life.
import { fileURLToPath } from "node:url";
import type * as grpc from "@grpc/grpc-js";
import type { ServerConfig } from "../../config.ts";
import { InvalidOptionsError, PortInUseError, UnauthorizedError } from "../../errors.ts";
import { createGuard } from "../admin-guard.ts";
import type { Catalog } from "../dialects/oip/catalog.ts";
import type { Predictor } from "../../query/predict.ts";
import { healthService, inferenceService, type ServiceParts } from "./service.ts";

export interface GrpcServerParts {
  readonly predictor: Predictor;
  readonly catalog: Catalog;
  readonly config: Pick<ServerConfig, "host" | "maxBodyBytes" | "maxInputs" | "token" | "grpcReflection">;
  readonly port: number;
}

interface Packages {
  readonly grpc: typeof grpc;
  readonly loader: typeof import("@grpc/proto-loader");
}

const INFERENCE: string = fileURLToPath(new URL("inference.proto", import.meta.url));
const HEALTH: string = fileURLToPath(new URL("health.proto", import.meta.url));

export class GrpcServer {
  readonly #parts: GrpcServerParts;
  readonly #closing = new AbortController();
  #server: grpc.Server | undefined;

  constructor(parts: GrpcServerParts) {
    this.#parts = parts;
  }

  /** Starts to listen; resolves with host:port. @throws InvalidOptionsError for packages that are not installed; PortInUseError */
  async listen(): Promise<string> {
    const packages = await loadPackages();
    const { config, port } = this.#parts;
    const server = new packages.grpc.Server({
      "grpc.max_receive_message_length": config.maxBodyBytes,
      "grpc.max_send_message_length": -1,
      // Nobody can ask for what it counts of each call.
      "grpc.enable_channelz": 0,
    });
    this.#server = server;
    await this.#addServices(server, packages);
    const host = config.host.includes(":") ? `[${config.host}]` : config.host;
    const bound = await bind(server, `${host}:${port}`, packages.grpc);
    return `${host}:${bound}`;
  }

  /** Lets running calls finish for `graceMs`, then cuts them. Idempotent. */
  async close(graceMs: number): Promise<void> {
    const server = this.#server;
    if (server === undefined || this.#closing.signal.aborted) return;
    this.#closing.abort();
    const cut = setTimeout(() => server.forceShutdown(), graceMs);
    await new Promise<void>((resolve) => {
      server.tryShutdown(() => resolve());
    });
    clearTimeout(cut);
  }

  async #addServices(server: grpc.Server, { grpc: library, loader }: Packages): Promise<void> {
    const { predictor, catalog, config } = this.#parts;
    const parts: ServiceParts = {
      predictor,
      catalog,
      maxInputs: config.maxInputs,
      guard: guardOf(config.token),
      closing: this.#closing.signal,
    };
    const definition = await loader.load([INFERENCE, HEALTH], {
      keepCase: true,
      longs: String,
      enums: String,
      defaults: true,
      oneofs: true,
    });
    const services = library.loadPackageDefinition(definition);
    server.addService(
      serviceAt(services, ["inference", "GRPCInferenceService"]),
      inferenceService(library, parts),
    );
    server.addService(serviceAt(services, ["grpc", "health", "v1", "Health"]), healthService(library, parts));
    if (!config.grpcReflection) return;
    const { ReflectionService } = await load(() => import("@grpc/reflection"), "@grpc/reflection");
    new ReflectionService(definition).addToServer(server);
  }
}

async function loadPackages(): Promise<Packages> {
  return {
    grpc: await load(() => import("@grpc/grpc-js"), "@grpc/grpc-js"),
    loader: await load(() => import("@grpc/proto-loader"), "@grpc/proto-loader"),
  };
}

async function load<T>(importing: () => Promise<T>, name: string): Promise<T> {
  try {
    return await importing();
  } catch (error) {
    throw new InvalidOptionsError(
      `grpcPort needs the package ${name}: npm install @grpc/grpc-js @grpc/proto-loader${name.endsWith("reflection") ? " @grpc/reflection" : ""}`,
      { cause: error, details: { option: "grpcPort", package: name } },
    );
  }
}

function serviceAt(services: grpc.GrpcObject, path: readonly string[]): grpc.ServiceDefinition {
  const found = path.reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], services);
  return (found as { readonly service: grpc.ServiceDefinition }).service;
}

function bind(server: grpc.Server, address: string, library: typeof grpc): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, library.ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else {
        reject(
          new PortInUseError(
            `cannot listen for gRPC on ${address}: ${error.message}; choose another grpcPort (0 picks a free one)`,
            { cause: error, details: { option: "grpcPort" } },
          ),
        );
      }
    });
  });
}

/** As the management API: its token, where it has one. No web page speaks gRPC without asking first. */
function guardOf(token: string | undefined): (metadata: grpc.Metadata) => void {
  if (token === undefined) return () => undefined;
  const guard = createGuard(token);
  return (metadata) => {
    const [authorization] = metadata.get("authorization");
    if (typeof authorization !== "string")
      throw new UnauthorizedError("loading and unloading models needs metadata authorization: Bearer TOKEN");
    guard({ headers: { authorization } });
  };
}
