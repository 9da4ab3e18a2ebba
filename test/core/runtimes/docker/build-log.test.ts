// What a build says, as progress and as errors.
import { expect, it } from "vitest";
import { DiskFullError, ImageBuildError, PackageNotFoundError } from "../../../../core/errors.ts";
import { buildError } from "../../../../core/runtimes/docker/build-errors.ts";
import { BuildLog, type BuildOutcome } from "../../../../core/runtimes/docker/build-log.ts";
import type { EngineMessage } from "../../../../core/runtimes/engine.ts";

function read(
  messages: readonly EngineMessage[],
  transferring = "pulling node:24",
): {
  readonly reports: readonly [string, unknown][];
  readonly outcome: BuildOutcome;
} {
  const reports: [string, unknown][] = [];
  const log = new BuildLog((message, details) => reports.push([message, details]), transferring);
  for (const message of messages) log.take(message);
  return { reports, outcome: log.outcome };
}

function pull(id: string, current: number): EngineMessage {
  return { id, status: "Downloading", progressDetail: { current, total: 100 } };
}

/** A layer that is pushed. */
function layer(id: string, total: number): EngineMessage[] {
  return [
    { id, status: "Pushing", progressDetail: { current: 1, total } },
    { id, status: "Pushed" },
  ];
}

/** The error of a build whose third step wrote `lines` and ended with `error`. */
function failed(lines: string, error: string): Error {
  const step = { stream: "Step 3/9 : RUN install\n ---> Running in 1a\n" };
  return buildError("building the image", read([step, { stream: lines }, { error }]).outcome);
}

it("reports each step once, and whether it came from the cache", () => {
  const { reports, outcome } = read([
    { stream: "Step 1/2 : FROM node:24" },
    { stream: "\n" },
    { stream: " ---> 1a2b3c\n" },
    { stream: "Step 2/2 : COPY a b\n ---> Using cache\n ---> 4d5e6f\nSuccessfully built 4d5e6f\n" },
  ]);
  expect(reports).toEqual([
    ["step 1/2: FROM node:24", { buildStep: 1, buildSteps: 2, isCached: false }],
    ["step 2/2 (cached): COPY a b", { buildStep: 2, buildSteps: 2, isCached: true }],
  ]);
  expect(outcome).toMatchObject({ error: undefined, cachedSteps: 1 });
});

it("reports pulls and pushes in steps of ten percent over all layers", () => {
  const { reports } = read([
    pull("a", 0),
    pull("b", 0),
    pull("a", 50),
    pull("a", 51),
    pull("a", 100),
    pull("b", 100),
  ]);
  expect(reports.map(([message]) => message)).toEqual([
    "pulling node:24: 20 %",
    "pulling node:24: 50 %",
    "pulling node:24: 100 %",
  ]);
});

it("counts layers whose size is not known yet as large as the others, and those that are there not at all", () => {
  const { reports } = read([
    { id: "a", status: "Pulling fs layer" },
    { id: "b", status: "Pulling fs layer" },
    { id: "c", status: "Already exists" },
    pull("a", 100),
    { id: "a", status: "Download complete" },
    { id: "b", status: "Download complete" },
    { id: "a", status: "Extracting", progressDetail: { current: 1, total: 100 } },
  ]);
  expect(reports.map(([message]) => message)).toEqual(["pulling node:24: 50 %", "pulling node:24: 100 %"]);
});

it("says of a push that it is one, also where its last layer is there already", () => {
  const { reports } = read(
    [
      { id: "a", status: "Preparing" },
      { id: "b", status: "Preparing" },
      { id: "c", status: "Preparing" },
      { id: "a", status: "Pushing", progressDetail: { current: 100, total: 100 } },
      { id: "b", status: "Layer already exists" },
      { id: "c", status: "Mounted from models/other" },
    ],
    "pushing models/digits:1",
  );
  expect(reports.map(([message]) => message)).toEqual([
    "pushing models/digits:1: 30 %",
    "pushing models/digits:1: 50 %",
    "pushing models/digits:1: 100 %",
  ]);
});

it("comes to a hundred, whatever sizes the layers have", () => {
  for (let size = 1; size < 3_000; size += 7) {
    const sized = [...layer("a", size), ...layer("b", 3 * size + 1), ...layer("c", 239_848)];
    const { reports } = read([{ id: "d", status: "Preparing" }, ...sized, { id: "d", status: "Pushed" }]);
    expect(reports.at(-1)?.[0]).toBe("pulling node:24: 100 %");
  }
});

it("names the step of a failure, its last lines, and what to try", () => {
  const missing = failed(
    "npm error code E404\nnpm error 404 'nothing@1.0.0' is not in this registry.\n",
    "The command returned a non-zero code: 1",
  );
  expect(missing).toBeInstanceOf(PackageNotFoundError);
  expect(missing.message).toMatch(/nothing@1\.0\.0 does not exist .* step 3\/9/);
  const script = failed("make: not found\ngyp ERR! stack\n", "returned a non-zero code: 1");
  expect(script).toBeInstanceOf(ImageBuildError);
  expect(script.message).toMatch(/step 3\/9 \(RUN install\).*gyp ERR! stack.*buildAptPackages/);
  expect(failed("", "write /x: no space left on device")).toBeInstanceOf(DiskFullError);
  expect(failed("", "manifest for node:99 not found: manifest unknown").message).toContain(
    "option baseImage",
  );
  expect(failed("", "lookup registry: no such host").message).toContain("reaches no network");
});
