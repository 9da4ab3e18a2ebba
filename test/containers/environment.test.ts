// The environment of a model container: defaults, bounds, messages.
import { expect, test } from "vitest";
import { libraryVariables, readEnvironment } from "../../containers/environment.ts";

test("everything has a default", () => {
  expect(readEnvironment({})).toEqual({
    address: { host: "0.0.0.0", port: 8080 },
    modelName: "model",
    modelVersion: "1",
    modelDir: "/model",
    threads: 1,
    memoryLimitMb: undefined,
    exitsWithParent: false,
  });
});

test("a socket goes before a port", () => {
  const variables = { WINDJAMMER_SOCKET: "/run/s", PORT: "9000", WINDJAMMER_HOST: "127.0.0.1" };
  expect(readEnvironment(variables).address).toEqual({ socketPath: "/run/s" });
  expect(readEnvironment({ ...variables, WINDJAMMER_SOCKET: "" }).address).toEqual({
    host: "127.0.0.1",
    port: 9000,
  });
});

test.each([
  ["PORT", "65536"],
  ["PORT", "http"],
  ["WINDJAMMER_THREADS", "0"],
  ["WINDJAMMER_THREADS", "1.5"],
  ["WINDJAMMER_MEMORY_LIMIT_MB", "-1"],
])("%s=%s is refused by name", (name, value) => {
  expect(() => readEnvironment({ [name]: value })).toThrow(`${name} is "${value}"`);
});

test("libraries compute with as many threads as the replica may use", () => {
  expect(libraryVariables(3)).toMatchObject({ TF_NUM_INTRAOP_THREADS: "3", TF_NUM_INTEROP_THREADS: "1" });
});
