// Composes what takes queries: the query API, gRPC, and the workers where there are any.
import type { ServerConfig } from "./config.ts";
import type { Deployments } from "./deploy/deployments.ts";
import { Catalog } from "./frontend/dialects/oip/catalog.ts";
import type { GrpcServer, GrpcServerParts } from "./frontend/grpc/server.ts";
import { QueryServer } from "./frontend/server.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { Predictor } from "./query/predict.ts";
import type { Router } from "./query/router.ts";
import { WorkerGroup, type WorkerGroupParts } from "./workers/group.ts";

export interface QueryFront {
  /** Gives the base URL. */
  listen(): Promise<string>;
  /** Gives the address; undefined: gRPC is off. */
  listenGrpc(): Promise<string | undefined>;
  close(graceMs: number): Promise<void>;
}

export interface QueryFrontParts {
  readonly deployments: Deployments;
  /** Filled in when the ports are known. */
  readonly urls: { readonly admin: string };
  readonly config: ServerConfig;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly router: Router;
  readonly group: WorkerGroup | undefined;
}

export function queryFront({ deployments, urls, config, group, ...parts }: QueryFrontParts): QueryFront {
  const { router, metrics } = parts;
  const predictor = new Predictor({ router });
  const repository = deployments;
  const query = new QueryServer({
    ...parts,
    predictor,
    // Workers have the port, and hand on to this listener what is no prediction.
    config: group === undefined ? config : { ...config, host: "127.0.0.1", port: 0 },
    adminUrl: () => urls.admin,
    repository,
  });
  const { serverName } = config;
  const catalog = new Catalog({ router, metrics, serverName, isReady: () => true, repository });
  const grpc = new GrpcListener({ predictor, catalog, config });
  return {
    async listen() {
      const own = await query.listen();
      return group === undefined ? own : group.listen(own);
    },
    listenGrpc: () => grpc.listen(),
    async close(graceMs) {
      await Promise.all([group?.close(graceMs), query.close(graceMs), grpc.close(graceMs)]);
    },
  };
}

/** Undefined: the server's own process takes the predictions. */
export function workersOf({
  deployments,
  ...parts
}: Omit<WorkerGroupParts, "openingOf"> & { readonly deployments: Deployments }): WorkerGroup | undefined {
  if (parts.config.workers === 1) return undefined;
  return new WorkerGroup({ ...parts, openingOf: (version) => deployments.openingOf(version) });
}

/** Loads gRPC, whose packages are optional, only where it is asked for. */
class GrpcListener {
  readonly #parts: Omit<GrpcServerParts, "port">;
  readonly #port: number | undefined;
  #server: GrpcServer | undefined;

  constructor(parts: Omit<GrpcServerParts, "port"> & { readonly config: ServerConfig }) {
    this.#parts = parts;
    this.#port = parts.config.grpcPort;
  }

  async listen(): Promise<string | undefined> {
    const port = this.#port;
    if (port === undefined) return undefined;
    const { GrpcServer: Server } = await import("./frontend/grpc/server.ts");
    this.#server = new Server({ ...this.#parts, port });
    return this.#server.listen();
  }

  async close(graceMs: number): Promise<void> {
    await this.#server?.close(graceMs);
  }
}
