// The routes of the management API that answer with JSON, as data; admin-streams.ts has the ones that stream.
import type { Registry } from "../registry/registry.ts";
import type { Serving } from "../query/serving.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Metrics } from "../metrics.ts";
import type { BundleStore } from "../deploy/bundle-store.ts";
import type { Deployments } from "../deploy/deployments.ts";
import { deploymentRequestSchema } from "../deploy/options.ts";
import type { ServerConfig } from "../config.ts";
import type { Deployment, Version } from "../types.ts";
import { z } from "zod";
import { route, type Route } from "./route.ts";
import {
  applicationBody,
  applicationSchema,
  currentVersionBody,
  deploymentSchema,
  idParams,
  linkParams,
  linkSchema,
  modelParams,
  modelSchema,
  nameParams,
  replicasBody,
  replicaSchema,
  statsSchema,
  type ServerInfo,
  type StopReply,
  type VersionDetail,
  versionDetailSchema,
  versionParams,
  versionSchema,
} from "./schemas.ts";

/** What the routes act on. */
export interface AdminParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly deployments: Deployments;
  readonly serving: Serving;
  readonly metrics: Metrics;
  readonly config: ServerConfig;
  readonly info: () => ServerInfo;
  /** Begins to stop the server; undefined: it belongs to a program that stops it itself. */
  readonly stop?: (() => StopReply) | undefined;
}

export const API = "/api/v1";

export function applicationRoutes({ registry, metrics }: AdminParts): Route[] {
  const tag = "applications";
  const path = `${API}/applications`;
  const one = { path: `${path}/{name}`, tag, params: nameParams } as const;
  return [
    route({
      method: "GET",
      path,
      tag,
      summary: "All applications",
      status: 200,
      response: z.array(applicationSchema).readonly(),
      handle: async () => registry.applications(),
    }),
    route({
      method: "GET",
      ...one,
      summary: "One application",
      status: 200,
      response: applicationSchema,
      handle: async ({ params }) => registry.application(params.name),
    }),
    route({
      method: "PUT",
      ...one,
      summary: "Creates or replaces an application",
      status: 200,
      body: applicationBody,
      response: applicationSchema,
      handle: async ({ params, body }) => {
        await registry.putApplication({ name: params.name, ...body });
        return registry.application(params.name);
      },
    }),
    route({
      method: "DELETE",
      ...one,
      summary: "Removes an application and its link; its model stays",
      status: 204,
      handle: async ({ params }) => {
        await registry.deleteApplication(params.name);
        metrics.removeApplication(params.name);
      },
    }),
  ];
}

export function linkRoutes({ registry }: AdminParts): Route[] {
  const tag = "links";
  const one = { path: `${API}/applications/{name}/links/{model}`, tag, params: linkParams } as const;
  return [
    route({
      method: "GET",
      path: `${API}/links`,
      tag,
      summary: "Which application is linked to which model",
      status: 200,
      response: z.array(linkSchema).readonly(),
      handle: async () => registry.links(),
    }),
    route({
      method: "PUT",
      ...one,
      summary: "Links an application to a model, in place of the one before",
      status: 204,
      handle: async ({ params }) => {
        await registry.link(params.name, params.model);
      },
    }),
    route({
      method: "DELETE",
      ...one,
      summary: "Removes a link",
      status: 204,
      handle: async ({ params }) => {
        await registry.unlink(params.name, params.model);
      },
    }),
  ];
}

export function modelRoutes({ registry, deployments }: AdminParts): Route[] {
  const tag = "models";
  const one = { path: `${API}/models/{model}`, tag, params: modelParams } as const;
  return [
    route({
      method: "GET",
      path: `${API}/models`,
      tag,
      summary: "All models",
      status: 200,
      response: z.array(modelSchema).readonly(),
      handle: async () => registry.models(),
    }),
    route({
      method: "GET",
      ...one,
      summary: "One model and its current version",
      status: 200,
      response: modelSchema,
      handle: async ({ params }) => registry.model(params.model),
    }),
    route({
      method: "DELETE",
      ...one,
      summary: "Removes a model with all its versions; refused while an application is linked to it",
      status: 204,
      handle: async ({ params }) => {
        await deployments.deleteModel(params.model);
      },
    }),
    route({
      method: "PUT",
      path: `${API}/models/{model}/current`,
      tag,
      params: modelParams,
      summary: "Rolls back or forward to a deployed version, as a deployment",
      status: 202,
      body: currentVersionBody,
      response: deploymentSchema,
      location: deploymentPath,
      handle: async ({ params, body }) => deployments.setVersion(params.model, body.version),
    }),
  ];
}

export function versionRoutes({ registry, deployments, serving }: AdminParts): Route[] {
  const tag = "models";
  const path = `${API}/models/{model}/versions`;
  const one = { path: `${path}/{version}`, tag, params: versionParams } as const;
  const detail = (model: string, version: string): VersionDetail =>
    describe(registry.version(model, version), serving.find(model, version));
  return [
    route({
      method: "GET",
      path,
      tag,
      params: modelParams,
      summary: "Versions of a model, newest first",
      status: 200,
      response: z.array(versionSchema).readonly(),
      handle: async ({ params }) => registry.versions(registry.model(params.model).name),
    }),
    route({
      method: "GET",
      ...one,
      summary: "One version: its record, and what runs of it",
      status: 200,
      response: versionDetailSchema,
      handle: async ({ params }) => detail(params.model, params.version),
    }),
    route({
      method: "DELETE",
      ...one,
      summary: "Removes a version; refused for the current one",
      status: 204,
      handle: async ({ params }) => {
        await deployments.deleteVersion(params.model, params.version);
      },
    }),
    route({
      method: "PUT",
      path: `${path}/{version}/replicas`,
      tag,
      params: versionParams,
      summary: "Changes the number of replicas; replies when they are ready",
      status: 200,
      body: replicasBody,
      response: versionDetailSchema,
      handle: async ({ params, body }) => {
        await deployments.scale(params.model, body.replicas, params.version);
        return detail(params.model, params.version);
      },
    }),
  ];
}

export function replicaRoutes({ serving }: AdminParts): Route[] {
  return [
    route({
      method: "GET",
      path: `${API}/replicas`,
      tag: "replicas",
      summary: "All replicas",
      status: 200,
      response: z.array(replicaSchema).readonly(),
      handle: async () => serving.replicas(),
    }),
    route({
      method: "GET",
      path: `${API}/replicas/{id}/stats`,
      tag: "replicas",
      params: idParams,
      summary: "Memory of a replica now, and the CPU time it has taken",
      status: 200,
      response: statsSchema,
      handle: async ({ params }) => serving.stats(params.id),
    }),
  ];
}

export function deploymentRoutes({ registry, deployments }: AdminParts): Route[] {
  const tag = "deployments";
  const path = `${API}/deployments`;
  return [
    route({
      method: "POST",
      path,
      tag,
      summary: "Deploys a stored bundle as a version of a model; follow its events for what becomes of it",
      status: 202,
      body: deploymentRequestSchema,
      response: deploymentSchema,
      location: deploymentPath,
      handle: async ({ body }) => deployments.begin(body),
    }),
    route({
      method: "GET",
      path,
      tag,
      summary: "Deployments, newest first",
      status: 200,
      response: z.array(deploymentSchema).readonly(),
      handle: async () => registry.deployments(),
    }),
    route({
      method: "GET",
      path: `${path}/{id}`,
      tag,
      params: idParams,
      summary: "One deployment",
      status: 200,
      response: deploymentSchema,
      handle: async ({ params }) => registry.deployment(params.id),
    }),
    route({
      method: "DELETE",
      path: `${path}/{id}`,
      tag,
      params: idParams,
      summary:
        "Cancels a running deployment; replies when it has ended, with what became of it. One that has switched goes on",
      status: 200,
      response: deploymentSchema,
      handle: async ({ params }) => deployments.cancel(params.id),
    }),
  ];
}

function deploymentPath({ id }: Deployment): string {
  return `${API}/deployments/${encodeURIComponent(id)}`;
}

function describe(version: Version, served: ServedVersion | undefined): VersionDetail {
  if (served === undefined) return { ...version, running: null };
  const { queueLength, inFlight, policy } = served.describe();
  const trouble = served.lastTrouble();
  return {
    ...version,
    running: {
      replicas: served.replicas(),
      readyCount: served.readyCount,
      queueLength,
      inFlight,
      maxInFlight: served.maxInFlight,
      policy,
      errors: served.recentErrors(),
      ...(trouble === undefined ? {} : { trouble }),
    },
  };
}
