// Reasons of exits, what ps prints, and what npm says, in words.
import { expect, it } from "vitest";
import { DiskFullError, PackageInstallError, PackageNotFoundError } from "../../../../core/errors.ts";
import { describeExit, type ExitCircumstances } from "../../../../core/runtimes/process/child.ts";
import { addVersions, installError, missingVersionOf } from "../../../../core/runtimes/npm-errors.ts";
import { parsePs, processIdentity, processStats } from "../../../../core/runtimes/process/process-info.ts";

const crashed: ExitCircumstances = { wasStopped: false, memoryMb: undefined, lastLines: [] };
const heapMessage = {
  at: "",
  stream: "stderr",
  text: "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
} as const;

it("names the reason of an exit", () => {
  expect(describeExit({ code: 1, signal: null }, crashed)).toEqual({
    reason: "exited",
    exitCode: 1,
    message: "exited with code 1",
  });
  expect(describeExit({ code: null, signal: "SIGSEGV" }, crashed)).toEqual({
    reason: "killed",
    signal: "SIGSEGV",
    message: "killed by SIGSEGV",
  });
  expect(describeExit({ code: 137, signal: null }, { ...crashed, memoryMb: 256 })).toEqual({
    reason: "out-of-memory",
    exitCode: 137,
    message: "out of memory (limit 256 MiB)",
  });
  expect(describeExit({ code: null, signal: "SIGABRT" }, { ...crashed, lastLines: [heapMessage] })).toEqual({
    reason: "out-of-memory",
    signal: "SIGABRT",
    message: "out of memory",
  });
  const limitMessage = { ...heapMessage, text: "windjammer: out of memory: 300 MiB resident, limit 256 MiB" };
  const atLimit = { ...crashed, memoryMb: 256, lastLines: [limitMessage] };
  expect(describeExit({ code: null, signal: "SIGKILL" }, atLimit).reason).toBe("out-of-memory");
  expect(describeExit({ code: null, signal: "SIGABRT" }, crashed).reason).toBe("killed");
  expect(describeExit({ code: null, signal: "SIGKILL" }, crashed).reason).toBe("killed");
  expect(describeExit({ code: 0, signal: null }, { ...crashed, wasStopped: true }).reason).toBe("stopped");
});

it("knows a process from another one with its number", async () => {
  const identity = await processIdentity(process.pid);
  expect(identity).toBeDefined();
  expect(await processIdentity(process.pid)).toBe(identity);
  expect(await processIdentity(process.ppid)).not.toBe(identity);
  expect(await processIdentity(2 ** 30)).toBeUndefined();
  expect(await processStats(2 ** 30)).toBeUndefined();
});

it.each([
  [" 51234 00:01:02", { memoryBytes: 51_234 * 1024, cpuMs: 62_000 }],
  ["  512   0:03.25\n", { memoryBytes: 512 * 1024, cpuMs: 3_250 }],
  ["1 2-03:04:05", { memoryBytes: 1024, cpuMs: ((2 * 24 + 3) * 3600 + 4 * 60 + 5) * 1000 }],
])("reads %j as ps prints it", (output, expected) => {
  expect(parsePs(output)).toEqual(expected);
});

it("takes what ps does not print for a process that has gone", () => {
  expect(parsePs("")).toBeUndefined();
  expect(parsePs(undefined)).toBeUndefined();
});

it("names the package that npm did not find", () => {
  const error = installError({
    exitCode: 1,
    lines: [
      "npm error code E404",
      "npm error 404 Not Found - GET http://127.0.0.1:1/@me%2fnothing - no such package",
      "npm error 404",
      "npm error 404  '@me/nothing@1.0.0' could not be found or you do not have permission to access it.",
    ],
  });
  expect(error).toBeInstanceOf(PackageNotFoundError);
  expect(error.message).toContain("@me/nothing@1.0.0");
  expect(error.details).toMatchObject({ npmCode: "E404", missing: "@me/nothing@1.0.0" });
});

it("names the version that npm did not find, and the newest there are", () => {
  const error = installError({
    exitCode: 1,
    lines: ["npm error code ETARGET", "npm error notarget No matching version found for @me/thing@9.9.9."],
  });
  expect(error.message).toContain("@me/thing@9.9.9");
  expect(missingVersionOf(error)).toBe("@me/thing");
  const more = addVersions(error, '["1.0.0","1.1.0","2.0.0"]');
  expect(more.message).toContain("newest are 2.0.0, 1.1.0, 1.0.0");
  expect(addVersions(error, '"1.0.0"').details["versions"]).toEqual(["1.0.0"]);
});

it("tells a full disk, a missing network and everything else apart", () => {
  const full = installError({
    exitCode: 1,
    lines: ["npm error code ENOSPC", "npm error nospc write ENOSPC"],
  });
  expect(full).toBeInstanceOf(DiskFullError);
  const offline = installError({
    exitCode: 1,
    lines: [
      "npm ERR! code ENOTFOUND",
      "npm ERR! network request failed",
      "npm ERR! A complete log of this run is in: x",
    ],
  });
  expect(offline).toBeInstanceOf(PackageInstallError);
  expect(offline.message).toContain("check the network");
  const other = installError({ exitCode: 7, lines: [] });
  expect(other.message).toContain("npm ended with exit code 7");
});
