// The page at /docs and its files: served from the package, under a policy that lets nothing from elsewhere in.
import { describe, expect, test } from "vitest";
import { fakes, valueManifest } from "../../query/fakes.ts";
import { startTestServer } from "../query-client.ts";

describe("the page at /docs", () => {
  test("refers to files of this server only, and each is there", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    const { status, text, headers } = await server.get("/docs");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'; script-src 'self';");
    const files = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file = ""]) => file);
    const ours = files.filter((file) => file !== "data:,");
    expect(ours).toHaveLength(4);
    for (const file of ours) {
      const reply = await server.get(file);
      expect([file, reply.status]).toEqual([file, 200]);
      expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("lists the applications there are", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    expect((await server.get("/docs/start.js")).text).toContain('"url":"/digits/openapi.json"');
  });

  test("gives no other file of the package, or of the machine", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    for (const file of [
      "package.json",
      "..%2fpackage.json",
      "%2e%2e%2f%2e%2e%2fpackage.json",
      "index.html",
    ]) {
      const { status, json } = await server.get(`/docs/${file}`);
      expect([file, status, json.error]).toEqual([file, 404, "ROUTE_NOT_FOUND"]);
    }
  });

  test("an application named docs is predicted with and described in its document", async () => {
    await using server = await startTestServer(fakes(valueManifest("json"), { name: "docs" }));
    expect((await server.post({ input: {} }, { path: "/docs/predict" })).status).toBe(200);
    expect((await server.get("/docs/openapi.json")).status).toBe(200);
  });
});
