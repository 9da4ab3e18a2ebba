// A server without swagger-ui-dist: the page says what to install, and the documents are there all the same.
import type * as nodeModule from "node:module";
import { expect, test, vi } from "vitest";
import { fakes, valueManifest } from "../../query/fakes.ts";
import { startTestServer } from "../query-client.ts";

vi.mock("node:module", async (importOriginal) => {
  const { createRequire } = await importOriginal<typeof nodeModule>();
  const withoutPackages: typeof createRequire = (path) => {
    const resolve = Object.assign(
      (name: string): string => {
        throw new Error(`Cannot find module '${name}'`);
      },
      { paths: () => null },
    );
    return Object.assign(createRequire(path), { resolve });
  };
  return { createRequire: withoutPackages };
});

test("the page says which package it needs", async () => {
  await using server = await startTestServer(fakes(valueManifest("json")));
  const { status, json } = await server.get("/docs");
  expect([status, json.error]).toEqual([501, "NOT_IMPLEMENTED"]);
  expect(json.message).toContain("npm install swagger-ui-dist");
  expect((await server.get("/digits/openapi.json")).status).toBe(200);
});
