// A deployment, on the client's side: options checked, bundle made and uploaded, events followed to the end.
import { tmpdir } from "node:os";
import type { Manifest } from "../../containers/protocol.ts";
import { packFolder } from "../deploy/bundle.ts";
import type { BundleReport, Deployer } from "../deploy/deployer.ts";
import { errorFromBody } from "../error-replies.ts";
import {
  BundleNotFoundError,
  InvalidBundleError,
  isNodeError,
  ServerUnreachableError,
  type WindjammerError,
} from "../errors.ts";
import type { Deployment, DeploymentEvent } from "../types.ts";
import { localError, makeBundle } from "./bundle.ts";
import type { Connection } from "./connection.ts";
import type { CheckedOptions, Follower, OnEvent } from "./deploy-options.ts";

/** What the steps of a deployment talk to. */
export interface DeployTarget {
  readonly connection: Connection;
  /** Base of the management API's paths, ending in /api/v1. */
  readonly api: string;
}

/**
 * Makes the bundle in a temporary folder, uploads it unless the server has it, and begins the deployment.
 * @throws what the deployer throws, what the server says to the upload and the request, DiskFullError, and the reason
 * of an aborted signal
 */
export async function beginDeployment<Options>(
  target: DeployTarget,
  deployer: Deployer<Options>,
  options: CheckedOptions<Options>,
): Promise<{ readonly deployment: Deployment; readonly manifest: Manifest }> {
  const { own, onEvent, signal } = options;
  signal?.throwIfAborted();
  const report = clientEvents(onEvent);
  await using bundle = await makeBundle(deployer, own, report);
  try {
    signal?.throwIfAborted();
    const { folder, hash, manifest } = bundle;
    return { deployment: await send(target, { folder, bundle: hash, report, options }), manifest };
  } catch (error) {
    throw isNodeError(error) && error !== signal?.reason ? localError(error) : error;
  }
}

interface Parcel {
  readonly folder: string;
  /** Its hash. */
  readonly bundle: string;
  readonly report: (message: string) => void;
  readonly options: CheckedOptions<unknown>;
}

async function send({ connection, api }: DeployTarget, made: Parcel): Promise<Deployment> {
  const { bundle, report, options } = made;
  const { request, signal } = options;
  const isKnown = await isStored(connection, `${api}/bundles/${bundle}`, signal);
  report(isKnown ? "the server has this bundle already" : "uploading the bundle");
  if (!isKnown) await upload(connection, `${api}/bundles`, made);
  signal?.throwIfAborted();
  const body = JSON.stringify({ ...request, bundle });
  // Not aborted half way: the deployment's number, which cancelling takes, would be lost.
  const begin = async (): Promise<Deployment> =>
    JSON.parse(await connection.call("POST", `${api}/deployments`, { body })) as Deployment;
  return begin().catch(async (error: unknown) => {
    if (!(error instanceof BundleNotFoundError)) throw error;
    // It was removed in between, with the last version that held it, or with a refused request for the same bundle.
    await upload(connection, `${api}/bundles`, made);
    return begin();
  });
}

/** What is said where no deployment has a number: events with sequence 0. */
export function clientEvents(onEvent: OnEvent, step: DeploymentEvent["step"] = "receive"): BundleReport {
  return (message, details) => {
    onEvent?.({
      sequence: 0,
      at: new Date().toISOString(),
      step,
      level: "info",
      message,
      ...(details === undefined ? {} : { details }),
    });
  };
}

async function isStored(
  connection: Connection,
  url: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const headers = connection.authorization;
  const { statusCode } = await connection.exchange("HEAD", url, { headers, signal });
  return statusCode < 300;
}

/** @throws InvalidBundleError when something else is stored than was hashed here */
async function upload(connection: Connection, url: string, made: Parcel): Promise<void> {
  const stream = packFolder(made.folder);
  try {
    const body = { stream, type: "application/x-tar" };
    const reply = await connection.call("POST", url, { body, signal: made.options.signal });
    const { bundle: stored } = JSON.parse(reply) as { readonly bundle: string };
    if (stored === made.bundle) return;
    throw new InvalidBundleError(
      `the bundle has the hash ${made.bundle} here and ${stored} on the server; a file system (here: that of ${tmpdir()}) does not keep which files are executable; set TMPDIR, or the server's state folder, to one that does`,
      { details: { bundle: made.bundle, stored } },
    );
  } finally {
    stream.destroy();
  }
}

/**
 * Follows a deployment to its end; an aborted signal cancels it.
 * @throws the error class of the deployment's failure, with its step and the container's last log lines; when it was
 * cancelled, the signal's reason
 */
export async function followDeployment(
  target: DeployTarget,
  deployment: Deployment,
  { onEvent, signal }: Follower,
): Promise<Deployment> {
  const { connection, api } = target;
  const { id } = deployment;
  const url = `${api}/deployments/${encodeURIComponent(id)}`;
  // What becomes of it, the events tell.
  const cancel = (): void => void connection.call("DELETE", url).catch(() => undefined);
  signal?.addEventListener("abort", cancel, { once: true });
  if (signal?.aborted === true) cancel();
  try {
    const ended = await followEvents(connection, { url, id, onEvent });
    if (ended.state === "failed") throw signal?.aborted === true ? signal.reason : deploymentError(ended);
    return ended;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

async function followEvents(
  connection: Connection,
  { url, id, onEvent }: { readonly url: string; readonly id: string; readonly onEvent: OnEvent },
): Promise<Deployment> {
  try {
    for await (const { event, data } of connection.events(`${url}/events`, { canResume: true })) {
      if (event === "event") onEvent?.(JSON.parse(data) as DeploymentEvent);
      if (event === "end") return JSON.parse(data) as Deployment;
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

function deploymentError({ id, model, version, error }: Deployment): WindjammerError {
  const { code = "INTERNAL", message = "no reason given", step, logTail = [], details } = error ?? {};
  const log =
    logTail.length === 0 ? "" : `\nlast log lines:\n${logTail.map((line) => `  ${line}`).join("\n")}`;
  return errorFromBody({
    error: code,
    message: `deployment of ${model} ${version} failed at step "${step ?? "unknown"}": ${message}${log}`,
    details: { ...details, deployment: id, model, version, step, logTail },
  });
}
