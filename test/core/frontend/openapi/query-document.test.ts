// The OpenAPI documents of the query API: valid, true to what the server does, and with the model's own schemas.
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { JsonObject, Manifest } from "../../../../containers/protocol.ts";
import { DeadlineExceededError } from "../../../../core/errors.ts";
import type { OpenApiDocument } from "../../../../core/frontend/openapi/document.ts";
import { relocated } from "../../../../core/frontend/openapi/relocate.ts";
import { querySchemas } from "../../../../core/frontend/openapi/query-schemas.ts";
import { BatchOutputs } from "../../../../core/query/query.ts";
import { fakes, jsonOutputs, tensorManifest, valueManifest } from "../../query/fakes.ts";
import { startTestServer, type TestServer } from "../query-client.ts";

async function documentAt(server: TestServer, path: string): Promise<OpenApiDocument> {
  const { status, json } = await server.get(path);
  expect(status).toBe(200);
  return json as OpenApiDocument;
}

/** Its schemas, on their own: references inside it still lead somewhere. */
function schemaOf(document: OpenApiDocument, name: string): z.ZodType {
  const text = JSON.stringify(document.components.schemas).replaceAll("#/components/schemas/", "#/$defs/");
  const $defs = JSON.parse(text) as Record<string, JsonObject>;
  return z.fromJSONSchema({ ...$defs[name], $defs });
}

const MANIFESTS: Readonly<Record<string, Manifest>> = {
  json: valueManifest("json"),
  strings: valueManifest("strings"),
  bytes: valueManifest("bytes"),
  integers: valueManifest("integers"),
  doubles: valueManifest("doubles"),
  "an image": tensorManifest([{ name: "image", datatype: "FP32", shape: [2, 3] }]),
  "two tensors": tensorManifest([
    { name: "ids", datatype: "INT64", shape: [-1] },
    { name: "mask", datatype: "BOOL", shape: [2] },
  ]),
};

describe("the document of the server", () => {
  test("is valid OpenAPI 3.1", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    const document = await documentAt(server, "/openapi.json");
    expect(document.openapi).toBe("3.1.0");
    const { valid, errors } = await new Validator().validate({ ...document });
    expect([valid, errors]).toEqual([true, undefined]);
  });

  test("names no path that the server does not have, and refers to nothing that is not there", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    const document = await documentAt(server, "/openapi.json");
    const names: Readonly<Record<string, string>> = { application: "digits", model: "digits", version: "1" };
    for (const path of Object.keys(document.paths)) {
      const concrete = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? "");
      // The other method, and of the page its package, say whether it is mounted.
      const reply = await fetch(server.url + concrete, { method: "DELETE" });
      if (!/^\/(?:ping|metrics|v1|-|v2\/repository)/.test(path))
        expect([path, reply.status, await reply.text()]).toEqual([path, 405, expect.anything()]);
    }
    for (const [, name = ""] of JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)"/g))
      expect(Object.keys(document.components.schemas)).toContain(name);
  });

  test("has what options add: Clipper's and Vertex AI's paths", async () => {
    const clipper = { adminPort: 0, rpcPort: undefined } as never;
    await using server = await startTestServer(fakes(valueManifest("json")), { clipper });
    expect(Object.keys((await documentAt(server, "/openapi.json")).paths)).toContain("/-/reload");
    const vertex = { predictRoute: "/answer/all", healthRoute: "/is-well" };
    await using ofVertex = await startTestServer(fakes(valueManifest("json")), { vertex });
    const { paths } = await documentAt(ofVertex, "/openapi.json");
    expect(Object.keys(paths[vertex.predictRoute] ?? {})).toEqual(["post"]);
    expect(Object.keys(paths[vertex.healthRoute] ?? {})).toEqual(["get"]);
  });

  test("GET replies are as its schemas say", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    const schemas = querySchemas(false);
    const replies: Readonly<Record<string, z.ZodType>> = {
      "/": schemas.Index,
      "/digits": schemas.ApplicationDescription,
      "/health/live": schemas.Live,
      "/health/ready": schemas.Ready,
      "/v2": schemas.ServerMetadata,
      "/v2/health/live": schemas.Live,
      "/v2/models": schemas.ModelNames,
      "/v2/models/stats": schemas.ModelStatistics,
      "/v2/models/digits": schemas.ModelMetadata,
      "/v2/models/digits/ready": schemas.ModelReady,
      "/v2/models/digits/config": schemas.ModelConfig,
      "/v1/models": schemas.ModelNames,
      "/v1/models/digits": schemas.ModelReady,
      "/ping": schemas.Ready,
    };
    for (const [path, schema] of Object.entries(replies)) {
      const { json } = await server.get(path);
      expect([path, schema.safeParse(json).error]).toEqual([path, undefined]);
    }
  });
});

describe("the document of an application", () => {
  for (const [what, manifest] of Object.entries(MANIFESTS)) {
    test(`${what}: is valid, and each body to try is taken and answered as it says`, async () => {
      const parts = fakes(manifest, {}, (query) => {
        query.settle({ kind: "ok", outputs: jsonOutputs(['{"a":[1]}']), index: 0 });
      });
      await using server = await startTestServer(parts);
      const document = await documentAt(server, "/digits/openapi.json");
      const { valid, errors } = await new Validator().validate({ ...document });
      expect([valid, errors]).toEqual([true, undefined]);
      let tried = 0;
      for (const [path, { post }] of Object.entries(document.paths)) {
        const example = bodyOf(post)?.example;
        if (example === undefined) continue;
        tried += 1;
        const request = schemaOf(document, nameOf(bodyOf(post)?.schema));
        expect([path, request.safeParse(example).error]).toEqual([path, undefined]);
        const reply = await server.post(example, { path });
        expect([path, reply.status, reply.text]).toEqual([path, 200, expect.anything()]);
        const answer = schemaOf(document, nameOf(replyOf(post)?.schema));
        expect([path, answer.safeParse(reply.json).error]).toEqual([path, undefined]);
      }
      expect(tried).toBe(3);
    });
  }

  test("its input's schema takes what the model takes, and refuses what it does not", async () => {
    await using server = await startTestServer(
      fakes(tensorManifest([{ name: "image", datatype: "UINT8", shape: [2, 2] }])),
    );
    const input = schemaOf(await documentAt(server, "/digits/openapi.json"), "Input");
    for (const good of [
      [
        [0, 255],
        [1, 2],
      ],
      [1, 2, 3, 4],
      { image: [1, 2, 3, 4] },
    ])
      expect(input.safeParse(good).success).toBe(true);
    for (const bad of [
      [
        [0, 256],
        [1, 2],
      ],
      [1, 2, 3],
      "text",
      { picture: [1, 2, 3, 4] },
    ])
      expect(input.safeParse(bad).success).toBe(false);
  });

  test("the schemas of the model's author stand in it, references and all", async () => {
    const input: JsonObject = {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: { tree: { $ref: "#/$defs/Tree" }, default: { type: "string" } },
      required: ["tree"],
      $defs: {
        Tree: {
          type: "object",
          properties: { children: { type: "array", items: { $ref: "#/$defs/Tree" } } },
        },
      },
    };
    const manifest = { ...valueManifest("json"), schemas: { input, output: { type: "number" } } };
    await using server = await startTestServer(fakes(manifest));
    const document = await documentAt(server, "/digits/openapi.json");
    expect((await new Validator().validate({ ...document })).valid).toBe(true);
    const { Input, Output } = document.components.schemas;
    expect(Output).toEqual({ type: "number" });
    expect(Input).not.toHaveProperty("$schema");
    expect(Input).toHaveProperty("properties", {
      tree: { $ref: "#/components/schemas/Input/$defs/Tree" },
      default: { type: "string" },
    });
    const inner = "$defs.Tree.properties.children.items.$ref";
    expect(Input).toHaveProperty(inner, "#/components/schemas/Input/$defs/Tree");
  });

  test("what only looks like a reference in a schema's data stays, and so does one with an identifier", () => {
    const data: JsonObject = { $ref: "#/data" };
    expect(relocated({ enum: [data], properties: { enum: { $ref: "#" } } }, "#/x")).toEqual({
      enum: [data],
      properties: { enum: { $ref: "#/x" } },
    });
    const identified: JsonObject = { $id: "urn:input", items: { $ref: "#" } };
    expect(relocated(identified, "#/x")).toEqual(identified);
  });

  test("a default output has its own reply; without one there is none", async () => {
    await using without = await startTestServer(fakes(valueManifest("json")));
    const plain = await documentAt(without, "/digits/openapi.json");
    expect(plain.components.schemas["DefaultOutput"]).toBeUndefined();
    const late = fakes(valueManifest("json"), { defaultOutput: -1 }, (query) => {
      query.settle({ kind: "error", error: new DeadlineExceededError("too late") });
    });
    await using server = await startTestServer(late);
    const document = await documentAt(server, "/digits/openapi.json");
    expect(document.components.schemas["DefaultOutput"]).toEqual({ const: -1 });
    const { json } = await server.post({ input: {} });
    expect(json).toMatchObject({ default: true });
    expect(schemaOf(document, "PredictReply").safeParse(json).error).toBeUndefined();
  });

  test("outputs by name, with null for what is no number", async () => {
    const specs = [
      { name: "label", datatype: "INT64", shape: [] },
      { name: "scores", datatype: "FP32", shape: [2] },
    ] as const;
    const parts = fakes(tensorManifest([{ name: "x", datatype: "FP32", shape: [1] }], specs), {}, (query) => {
      const label = { name: "label", datatype: "INT64", shape: [1], data: new Uint8Array(8) } as const;
      const data = new Uint8Array(new Float32Array([Number.NaN, 1]).buffer);
      const scores = { name: "scores", datatype: "FP32", shape: [1, 2], data } as const;
      query.settle({ kind: "ok", outputs: new BatchOutputs([label, scores], 1), index: 0 });
    });
    await using server = await startTestServer(parts);
    const document = await documentAt(server, "/digits/openapi.json");
    const { json } = await server.post({ input: [1] });
    expect(json.output).toEqual({ label: 0, scores: [null, 1] });
    expect(schemaOf(document, "PredictReply").safeParse(json).error).toBeUndefined();
    expect(schemaOf(document, "Output").safeParse({ label: "0", scores: [1, 1] }).success).toBe(false);
  });

  test("is there for every application, whatever its name, and for no other", async () => {
    for (const name of ["v2", "docs", "openapi", "health"]) {
      const parts = fakes(valueManifest("json"), { name });
      await using server = await startTestServer(parts);
      expect(Object.keys((await documentAt(server, `/${name}/openapi.json`)).paths)).toContain(
        `/${name}/predict`,
      );
    }
    await using server = await startTestServer(fakes(valueManifest("json")));
    const { status, json } = await server.get("/other/openapi.json");
    expect([status, json.error]).toEqual([404, "APPLICATION_NOT_FOUND"]);
  });

  test("an application without a model has one too", async () => {
    const parts = fakes(valueManifest("json"));
    parts.isLinked = false;
    parts.changed();
    await using server = await startTestServer(parts);
    const document = await documentAt(server, "/digits/openapi.json");
    expect((await new Validator().validate({ ...document })).valid).toBe(true);
  });
});

type Content = { readonly schema?: { readonly $ref?: string }; readonly example?: object };

function bodyOf(operation: OpenApiDocument["paths"][string][string] | undefined): Content | undefined {
  const body = operation?.["requestBody"] as { readonly content: Record<string, Content> } | undefined;
  return body?.content["application/json"];
}

function replyOf(operation: OpenApiDocument["paths"][string][string] | undefined): Content | undefined {
  const responses = operation?.["responses"] as Record<
    string,
    { readonly content?: Record<string, Content> }
  >;
  return responses["200"]?.content?.["application/json"];
}

function nameOf(schema: Content["schema"]): string {
  return schema?.$ref?.replace("#/components/schemas/", "") ?? "";
}
