// The routes of the management API about the server itself: health, metrics, what it is, and its end.
import { InvalidRequestError } from "../errors.ts";
import { type AdminParts, API } from "./admin-routes.ts";
import { route, type Route } from "./route.ts";
import { liveSchema, type Readiness, readinessSchema, serverSchema, stopSchema } from "./schemas.ts";

export function healthRoutes(parts: AdminParts, isClosing: () => boolean): Route[] {
  const readiness = (): Readiness => ({
    status: isClosing() ? "closing" : "ready",
    withoutReplica: withoutReplica(parts),
  });
  const tag = "server";
  return [
    route({
      method: "GET",
      path: "/health/live",
      tag,
      summary: "The process answers",
      status: 200,
      isOpen: true,
      response: liveSchema,
      handle: async () => ({ status: "live" }),
    }),
    route({
      method: "GET",
      path: "/health/ready",
      tag,
      summary:
        "The server takes requests, also while versions have no ready replica: one model that fails takes no other off the network",
      status: 200,
      otherStatuses: { 503: "The server closes" },
      isOpen: true,
      response: readinessSchema,
      handle: async ({ response }) => {
        if (isClosing()) response.statusCode = 503;
        return readiness();
      },
    }),
  ];
}

export function serverRoutes({ config, metrics, info, stop }: AdminParts): Route[] {
  const tag = "server";
  return [
    route({
      method: "GET",
      path: "/metrics",
      tag,
      summary: "Metrics for Prometheus",
      status: 200,
      text: "text/plain",
      handle: async ({ response }) => {
        const text = await metrics.text();
        response.writeHead(200, { "content-type": metrics.contentType }).end(text);
        return undefined;
      },
    }),
    route({
      method: "GET",
      path: `${API}/server`,
      tag,
      summary: "Version, addresses and limits of the server",
      status: 200,
      response: serverSchema,
      handle: async () => ({
        ...info(),
        limits: { maxInputs: config.maxInputs, maxBodyBytes: config.maxBodyBytes },
      }),
    }),
    route({
      method: "POST",
      path: `${API}/server/stop`,
      tag,
      summary:
        "Stops a server that `windjammer start` runs: queries that run may finish, then everything ends. Refused by a server that is part of another program",
      status: 202,
      response: stopSchema,
      handle: async () => {
        if (stop !== undefined) return stop();
        throw new InvalidRequestError(
          "this server is part of a program, not of `windjammer start`; end that program, or close the server there",
        );
      },
    }),
  ];
}

function withoutReplica({ registry, serving }: AdminParts): Readiness["withoutReplica"] {
  return registry
    .versions()
    .filter(({ desiredReplicas }) => desiredReplicas > 0)
    .filter(({ model, version }) => (serving.find(model, version)?.readyCount ?? 0) === 0)
    .map(({ model, version }) => ({ model, version }));
}
