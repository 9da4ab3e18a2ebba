// What runs a bundle's model container, and whether the server's runtime can.
import type { Manifest } from "../../containers/protocol.ts";
import { InvalidOptionsError, UnsupportedModelError } from "../errors.ts";
import { takesSeveral } from "../replicas/in-flight.ts";
import { needsRuntime } from "../replicas/source.ts";
import type { Runtime, RuntimeKind } from "../runtimes/runtime.ts";
import type { Version } from "../types.ts";

/** What a kind needs, and who has it. */
const NEEDS: Readonly<Record<RuntimeKind, string>> = {
  node: "our Node server",
  python: "our Python server",
  image: "an image; the docker runtime runs it",
  dockerfile:
    "an image built from a Dockerfile; the docker runtime builds and runs it, and the process runtime its program, by command",
  command: "a program of this machine; the process runtime runs it",
  url: "a server that runs elsewhere",
  "clipper-rpc": "a container of Clipper that connects by itself",
};

function containerKind({ container }: Pick<Manifest, "container">): RuntimeKind {
  return container?.kind ?? "node";
}

/** @throws UnsupportedModelError when the runtime cannot run what the bundle asks for */
export function checkRuns(runtime: Pick<Runtime, "name" | "abilities">, manifest: Manifest): void {
  const kind = containerKind(manifest);
  const { runs } = runtime.abilities;
  if (!needsRuntime(manifest) || runs.includes(kind)) return;
  throw new UnsupportedModelError(
    `the ${runtime.name} runtime of this server cannot run this model: its container is ${NEEDS[kind]} (kind ${kind}), ` +
      `and the ${runtime.name} runtime runs ${runs.join(", ")}; start the server with the runtime that can, or deploy the model in another form`,
    { details: { kind, runtime: runtime.name, runs } },
  );
}

/** @throws InvalidOptionsError when its replicas are to hold several batches, and their containers compute one after the other */
export function checkInFlight({ model, version, manifest, settings }: Version): void {
  const { maxInFlight = 1 } = settings;
  if (maxInFlight === 1 || takesSeveral(manifest)) return;
  const kind = containerKind(manifest);
  throw new InvalidOptionsError(
    `maxInFlight: expected 1 for model ${model} version ${version}, whose container is ${NEEDS[kind]} (kind ${kind}) and computes one batch after the other, got ${maxInFlight}; leave it out and raise replicas, or deploy a container of your own`,
    { details: { option: "maxInFlight", model, version, kind, value: maxInFlight } },
  );
}

/** @throws UnsupportedModelError when there is nothing to build an image of, or the runtime makes none of this kind */
export function checkHasImage(runtime: Pick<Runtime, "name" | "abilities">, manifest: Manifest): void {
  checkRuns(runtime, manifest);
  if (needsRuntime(manifest)) return;
  const kind = containerKind(manifest);
  throw new UnsupportedModelError(
    `no image can be built of this model: its container is ${NEEDS[kind]} (kind ${kind}); deploy it as it is`,
    { details: { kind } },
  );
}

/** Its containers come by themselves: nothing of it is prepared, started, tried or stopped here. */
export function connectsByItself(manifest: Pick<Manifest, "container">): boolean {
  return containerKind(manifest) === "clipper-rpc";
}
