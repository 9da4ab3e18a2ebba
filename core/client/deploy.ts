// A deployment, on the client's side: options checked, bundle made and uploaded, events followed to the end.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Manifest, MANIFEST_FILE } from "../../containers/protocol.ts";
import { hashFolder, packFolder } from "../deploy/bundle.ts";
import type { Deployer } from "../deploy/deployer.ts";
import {
  BundleNotFoundError,
  errorFromBody,
  ServerUnreachableError,
  type WindjammerError,
} from "../errors.ts";
import type { Deployment, DeploymentEvent } from "../types.ts";
import type { Connection } from "./connection.ts";
import type { CheckedOptions, OnEvent } from "./deploy-options.ts";

/** What the steps of a deployment talk to. */
export interface DeployTarget {
  readonly connection: Connection;
  /** Base of the management API's paths, ending in /api/v1. */
  readonly api: string;
}

/**
 * Makes the bundle in a temporary folder, uploads it unless the server has it, and begins the deployment.
 * @throws what the deployer throws, and what the server says to the upload and the request
 */
export async function beginDeployment<Options>(
  { connection, api }: DeployTarget,
  deployer: Deployer<Options>,
  { request, own, onEvent }: CheckedOptions<Options>,
): Promise<{ readonly deployment: Deployment; readonly manifest: Manifest }> {
  const folder = await mkdtemp(join(tmpdir(), "windjammer-bundle-"));
  try {
    const report = clientEvents(onEvent);
    report(`bundling with the ${deployer.name} deployer`);
    const manifest = await deployer.bundle(own, folder, report);
    await writeFile(join(folder, MANIFEST_FILE), canonicalJson(manifest));
    const bundle = await hashFolder(folder);
    const body = JSON.stringify({ ...request, bundle });
    const isKnown = await isStored(connection, `${api}/bundles/${bundle}`);
    report(isKnown ? "the server has this bundle already" : "uploading the bundle");
    if (!isKnown) await upload(connection, `${api}/bundles`, folder);
    const begin = async (): Promise<Deployment> =>
      JSON.parse(await connection.call("POST", `${api}/deployments`, { body })) as Deployment;
    const deployment = await begin().catch(async (error: unknown) => {
      if (!isKnown || !(error instanceof BundleNotFoundError)) throw error;
      // It was removed in between, as the last version that held it was.
      await upload(connection, `${api}/bundles`, folder);
      return begin();
    });
    return { deployment, manifest };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What is said before the deployment has a number: events of its first step, with sequence 0. */
function clientEvents(onEvent: OnEvent): (message: string, details?: DeploymentEvent["details"]) => void {
  return (message, details) => {
    onEvent?.({
      sequence: 0,
      at: new Date().toISOString(),
      step: "receive",
      level: "info",
      message,
      ...(details === undefined ? {} : { details }),
    });
  };
}

async function isStored(connection: Connection, url: string): Promise<boolean> {
  const { statusCode } = await connection.exchange("HEAD", url, { headers: connection.authorization });
  return statusCode < 300;
}

async function upload(connection: Connection, url: string, folder: string): Promise<void> {
  const stream = packFolder(folder);
  try {
    await connection.call("POST", url, { body: { stream, type: "application/x-tar" } });
  } finally {
    stream.destroy();
  }
}

/** Keys sorted, so that equal manifests are equal files. */
function canonicalJson(value: unknown): string {
  return `${JSON.stringify(value, withSortedKeys, 2)}\n`;
}

function withSortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Follows a deployment to its end.
 * @throws the error class of the deployment's failure, with its step and the container's last log lines
 */
export async function followDeployment(
  target: DeployTarget,
  deployment: Deployment,
  onEvent: OnEvent,
): Promise<Deployment> {
  const { connection, api } = target;
  const { id } = deployment;
  const url = `${api}/deployments/${encodeURIComponent(id)}/events`;
  try {
    for await (const { event, data } of connection.events(url, { canResume: true })) {
      if (event === "event") onEvent?.(JSON.parse(data) as DeploymentEvent);
      if (event === "end") return settled(JSON.parse(data) as Deployment);
    }
    throw new ServerUnreachableError("the events of the deployment broke off");
  } catch (error) {
    if (!(error instanceof ServerUnreachableError)) throw error;
    throw new ServerUnreachableError(
      `${error.message}; what became of deployment ${id} is not known: ask for it when the server is back`,
      { cause: error, details: { ...error.details, deployment: id } },
    );
  }
}

function settled(deployment: Deployment): Deployment {
  if (deployment.state === "failed") throw deploymentError(deployment);
  return deployment;
}

function deploymentError({ id, model, version, error }: Deployment): WindjammerError {
  const { code = "INTERNAL", message = "no reason given", step, logTail = [] } = error ?? {};
  const log =
    logTail.length === 0 ? "" : `\nlast log lines:\n${logTail.map((line) => `  ${line}`).join("\n")}`;
  return errorFromBody({
    error: code,
    message: `deployment of ${model} ${version} failed at step "${step ?? "unknown"}": ${message}${log}`,
    details: { deployment: id, model, version, step, logTail },
  });
}
