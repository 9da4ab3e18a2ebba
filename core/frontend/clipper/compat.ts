// What a server adds for Clipper's clients and containers: its management API, and its RPC port.
import type { ClipperConfig } from "../../config.ts";
import type { Log } from "../../log.ts";
import type { Serving } from "../../query/serving.ts";
import type { ContainerMetadata } from "../../replicas/clipper-rpc/messages.ts";
import { type Place, RpcService } from "../../replicas/clipper-rpc/service.ts";
import { ClipperAdminListener } from "./admin-listener.ts";
import type { ClipperCallParts } from "./calls.ts";

export interface ClipperCompatParts extends ClipperCallParts {
  readonly config: ClipperConfig;
  readonly requestTimeoutMs: number;
  readonly log: Log;
}

/** Where they listen. */
export interface ClipperAddresses {
  /** Base URL of Clipper's management API. */
  readonly adminUrl: string;
  /** ZeroMQ endpoint of model containers; undefined: none. */
  readonly rpcEndpoint: string | undefined;
}

export class ClipperCompat {
  readonly #admin: ClipperAdminListener;
  readonly #rpc: RpcService | undefined;

  constructor(parts: ClipperCompatParts) {
    const { config, registry, serving, log } = parts;
    const { host, adminPort, rpcPort } = config;
    this.#admin = new ClipperAdminListener({ ...parts, host, port: adminPort });
    if (rpcPort === null) return;
    this.#rpc = new RpcService({
      host,
      port: rpcPort,
      log,
      place: (metadata) => placeOf(serving, metadata),
      onChange: (listener) => registry.onChange(listener),
    });
  }

  /** @throws InvalidOptionsError, PortInUseError; nothing listens then */
  async listen(): Promise<ClipperAddresses> {
    const rpcEndpoint = await this.#rpc?.listen();
    return { adminUrl: await this.#admin.listen(), rpcEndpoint };
  }

  /** Idempotent. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([this.#admin.close(graceMs), this.#rpc?.close()]);
  }
}

/** Where a container belongs, by the name, version and input type that it gives. */
function placeOf(serving: Serving, { model, version, inputType }: ContainerMetadata): Place {
  const served = serving.find(model, version);
  if (served === undefined)
    return { kind: "none", why: "this version of this model is not registered; register it (add_model)" };
  const { manifest } = served.version;
  if (manifest.container?.kind !== "clipper-rpc")
    return { kind: "none", why: "this version is served by containers of our own" };
  if (manifest.inputType !== inputType)
    return {
      kind: "none",
      why: `it takes ${inputType ?? "an unknown type"}, and the model is registered with ${manifest.inputType}`,
    };
  return {
    kind: "version",
    manifest,
    nextId: () => serving.nextId({ model, version }),
    join: (running, transport) => served.join(running, transport),
  };
}
