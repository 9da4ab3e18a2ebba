// The OpenAPI documents of the query API: valid, true to what the server does, and with the model's own schemas.
import type { Express } from "express";
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { JsonObject, Manifest } from "../../../../containers/protocol.ts";
import { DeadlineExceededError, toWindjammerError } from "../../../../core/errors.ts";
import { Catalog } from "../../../../core/frontend/dialects/oip/catalog.ts";
import type { OpenApiDocument } from "../../../../core/frontend/openapi/document.ts";
import { relocated } from "../../../../core/frontend/openapi/relocate.ts";
import { queryOperations } from "../../../../core/frontend/openapi/query-operations.ts";
import { querySchemas } from "../../../../core/frontend/openapi/query-schemas.ts";
import { queryRoutes } from "../../../../core/frontend/query-routes.ts";
import { BatchOutputs } from "../../../../core/query/query.ts";
import { fakes, jsonOutputs, tensorManifest, valueManifest } from "../../query/fakes.ts";
import { startTestServer, type TestServer } from "../query-client.ts";

async function documentAt(server: TestServer, path: string): Promise<OpenApiDocument> {
  const { status, json } = await server.get(path);
  expect(status).toBe(200);
  return json as OpenApiDocument;
}

/** A schema of the document, on its own: references inside it still lead somewhere. */
function validator({ components }: OpenApiDocument, schema: JsonObject): z.ZodType {
  const text = JSON.stringify({ ...schema, $defs: components.schemas });
  return z.fromJSONSchema(JSON.parse(text.replaceAll("#/components/schemas/", "#/$defs/")) as JsonObject);
}

function schemaOf(document: OpenApiDocument, name: string): z.ZodType {
  return validator(document, document.components.schemas[name] as JsonObject);
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

const NAMES: Readonly<Record<string, string>> = { application: "digits", model: "digits", version: "1" };
const VERTEX = { predictRoute: "/answer/all", healthRoute: "/is-well" };

const TENSOR = { name: "input", datatype: "FP64", shape: [1, 2], data: [1, 2] };

/** What each of the paths takes. */
const BODIES: readonly (readonly [RegExp, { readonly body: string }])[] = [
  [/\/predict$/, { body: '{"input":[1,2]}' }],
  [/\/update$/, { body: '{"uid":1,"input":[1,2],"label":1}' }],
  [/\/infer$|\/generate/, { body: JSON.stringify({ inputs: [TENSOR] }) }],
  [/:predict$|\/invocations$|\/answer\/all$/, { body: '{"instances":[[1,2]]}' }],
];

/** The status is one of those documented, and a body in JSON is as its schema says. */
async function expectDocumented(
  document: OpenApiDocument,
  operation: OpenApiDocument["paths"][string][string],
  reply: Response,
): Promise<void> {
  const text = await reply.text();
  const responses = operation["responses"] as Record<
    string,
    { content?: Record<string, { schema: JsonObject }> }
  >;
  const place = `${reply.url} ${reply.status} ${text.slice(0, 200)}`;
  expect([404, 400, 200, 501], place).toContain(reply.status);
  const response = responses[String(reply.status)] ?? responses["default"];
  if (response?.content === undefined) return;
  const [type = ""] = reply.headers.get("content-type")?.split(";") ?? [];
  const { schema } = response.content[type] ?? {};
  expect(schema, `${place} ${type}`).toBeDefined();
  if (type !== "application/json" || schema === undefined) return;
  expect(validator(document, schema).safeParse(valueOf(text)).error, place).toBeUndefined();
}

/** Clipper calls its texts JSON, too. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

describe("the document of the server", () => {
  test("is valid OpenAPI 3.1", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")));
    const document = await documentAt(server, "/openapi.json");
    expect(document.openapi).toBe("3.1.0");
    const { valid, errors } = await new Validator().validate({ ...document });
    expect([valid, errors]).toEqual([true, undefined]);
  });

  test("each of its operations answers what it says, and refuses as it says", async () => {
    const clipper = { adminPort: 0, rpcPort: undefined } as never;
    await using server = await startTestServer(fakes(valueManifest("doubles")), { clipper, vertex: VERTEX });
    const document = await documentAt(server, "/openapi.json");
    const seen: string[] = [];
    for (const [path, operations] of Object.entries(document.paths)) {
      const concrete = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => NAMES[name] ?? "");
      for (const [method, operation] of Object.entries(operations)) {
        seen.push(`${method} ${path}`);
        const { body } = BODIES.find(([pattern]) => pattern.test(path))?.[1] ?? {};
        const init = { method: method.toUpperCase(), ...(body === undefined ? {} : { body }) };
        await expectDocumented(document, operation, await fetch(server.url + concrete, init));
        const wrong = { ...init, ...(method === "post" ? { body: '{"' } : {}) };
        const unknown = concrete.replace("digits", "nobody");
        if (unknown !== concrete)
          await expectDocumented(document, operation, await fetch(server.url + unknown, wrong));
        if (method === "post")
          await expectDocumented(document, operation, await fetch(server.url + concrete, wrong));
      }
    }
    expect(seen.length).toBeGreaterThan(35);
    expect(new Set(seen).size).toBe(seen.length);
  });

  test("has every route that is mounted, but for the files of the page", async () => {
    const parts = fakes(valueManifest("json"));
    const { router, metrics } = parts;
    const mounted = queryRoutes({
      router,
      metrics,
      isReady: Boolean,
      startedAt: 0,
      speaksClipper: true,
      adminUrl: () => undefined,
      catalog: new Catalog({ router, metrics, serverName: "x", isReady: Boolean }),
      vertex: undefined,
      token: undefined,
      onError: toWindjammerError,
    }) as unknown as Express;
    const routes = mounted.router.stack.flatMap(({ route }) =>
      typeof route?.path === "string" ? route.stack.map(({ method }) => `${method} ${route.path}`) : [],
    );
    expect(routes.length).toBeGreaterThan(20);
    const named = querySchemas({ hasDefault: true, speaksClipper: true });
    const documented = new Set(
      queryOperations(named, { speaksClipper: true, vertex: undefined }).map(
        ({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`,
      ),
    );
    expect(routes.filter((one) => !/^get \/docs\/./.test(one) && !documented.has(one))).toEqual([]);
  });

  test("refers to nothing that is not there, and its operations have ids of their own", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")), { vertex: VERTEX });
    for (const path of ["/openapi.json", "/digits/openapi.json"]) {
      const document = await documentAt(server, path);
      for (const [, name = ""] of JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)"/g))
        expect(Object.keys(document.components.schemas)).toContain(name);
      const ids = Object.values(document.paths).flatMap((all) =>
        Object.values(all).map((one) => one["operationId"]),
      );
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  test("a path that is there takes no other method, and says which it takes", async () => {
    await using server = await startTestServer(fakes(valueManifest("json")), { vertex: VERTEX });
    const { paths } = await documentAt(server, "/openapi.json");
    for (const [path, operations] of Object.entries(paths)) {
      const concrete = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => NAMES[name] ?? "");
      const reply = await fetch(server.url + concrete, { method: "DELETE" });
      expect([path, reply.status]).toEqual([path, 405]);
      const allowed = reply.headers.get("allow")?.split(", ");
      for (const method of Object.keys(operations)) expect(allowed).toContain(method.toUpperCase());
    }
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
});

const VECTOR_OUTPUT = [{ name: "y", datatype: "FP32", shape: [-1] }] as const;

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

  const ids = { name: "ids", datatype: "INT64", shape: [2], data: [1, 2] };
  const mask = { name: "mask", datatype: "FP32", shape: [2, 2], data: [0, "NaN", null, 1.5] };

  test.each<readonly [what: string, inputs: readonly object[], isRight: boolean]>([
    ["both tensors, in any order", [mask, ids], true],
    ["nested data", [ids, { ...mask, data: [[0], [1, [2]], 3] }], true],
    ["a scalar row with an axis of its own", [{ ...ids, shape: [2, 1] }, mask], true],
    ["parameters", [{ ...ids, parameters: { x: 1 } }, mask], true],
    ["one alone", [ids], false],
    ["one more", [ids, mask, ids], false],
    ["another name", [{ ...ids, name: "id" }, mask], false],
    ["another datatype", [{ ...ids, datatype: "INT32" }, mask], false],
    ["another shape", [ids, { ...mask, shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }], false],
    ["an axis too many", [ids, { ...mask, shape: [1, 2, 2] }], false],
    ["no shape", [ids, { ...mask, shape: undefined }], false],
    ["elements of another type", [ids, { ...mask, data: ["a", 0, 0, 0] }], false],
    ["a fraction for an integer", [{ ...ids, data: [1.5, 2] }, mask], false],
  ])("the tensors that infer takes are the contract's: %s", async (_, inputs, isRight) => {
    const specs = [
      { name: "ids", datatype: "INT64", shape: [] },
      { name: "mask", datatype: "FP32", shape: [2] },
    ] as const;
    await using server = await startTestServer(fakes(tensorManifest(specs)));
    const request = schemaOf(await documentAt(server, "/digits/openapi.json"), "InferRequest");
    const body = JSON.parse(JSON.stringify({ inputs })) as object;
    const { status } = await server.post(body, { path: "/v2/models/digits/infer" });
    expect([request.safeParse(body).success, status]).toEqual([isRight, isRight ? 200 : 400]);
    const general = schemaOf(await documentAt(server, "/openapi.json"), "InferRequest");
    if (isRight) expect(general.safeParse(body).error).toBeUndefined();
  });

  test("rows of different lengths are taken and given as vectors", async () => {
    const parts = fakes(
      tensorManifest([{ name: "x", datatype: "FP32", shape: [-1], isRagged: true }], VECTOR_OUTPUT),
      {},
      (query) => {
        const data = query.row.tensors[0]?.data ?? new Uint8Array();
        const shape = [1, data.byteLength / 4];
        const tensor = { name: "y", datatype: "FP32", shape, data } as const;
        query.settle({ kind: "ok", outputs: new BatchOutputs([tensor], 1), index: 0 });
      },
    );
    await using server = await startTestServer(parts);
    const document = await documentAt(server, "/digits/openapi.json");
    const input = { name: "x", datatype: "BYTES", shape: [2], data: [[1, 2], [3]] };
    const parameters = { content_type: "fp32" };
    for (const inputs of [
      [{ ...input, parameters }],
      [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] }],
    ]) {
      expect(schemaOf(document, "InferRequest").safeParse({ inputs }).error).toBeUndefined();
      const { status, json } = await server.post({ inputs }, { path: "/v2/models/digits/infer" });
      expect(status).toBe(200);
      expect(schemaOf(document, "InferReply").safeParse(json).error).toBeUndefined();
      const other = { ...json, outputs: [{ ...json.outputs[0], name: "z" }] };
      expect(schemaOf(document, "InferReply").safeParse(other).success).toBe(false);
    }
  });

  test("classes that were asked for are in its schemas, and outputs that there are none of are not", async () => {
    const parts = fakes(
      tensorManifest([{ name: "x", datatype: "FP32", shape: [1] }], VECTOR_OUTPUT),
      {},
      (query) => {
        const data = new Uint8Array(new Float32Array([0.5, 2]).buffer);
        const tensor = { name: "y", datatype: "FP32", shape: [1, 2], data } as const;
        query.settle({ kind: "ok", outputs: new BatchOutputs([tensor], 1), index: 0 });
      },
    );
    await using server = await startTestServer(parts);
    const document = await documentAt(server, "/digits/openapi.json");
    const request = schemaOf(document, "InferRequest");
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 1], data: [1] }];
    const asked = { inputs, outputs: [{ name: "y", parameters: { classification: 1 } }] };
    expect(request.safeParse(asked).error).toBeUndefined();
    expect(request.safeParse({ inputs, outputs: [{ name: "other" }] }).success).toBe(false);
    const { json } = await server.post(asked, { path: "/v2/models/digits/infer" });
    expect(json.outputs[0]).toMatchObject({ datatype: "BYTES", data: ["2.000000:1"] });
    expect(schemaOf(document, "InferReply").safeParse(json).error).toBeUndefined();
  });

  test("vectors of numbers cannot be asked for text, others can", async () => {
    for (const [type, isThere] of [
      ["doubles", false],
      ["strings", true],
    ] as const) {
      await using server = await startTestServer(fakes(valueManifest(type)));
      const { paths } = await documentAt(server, "/digits/openapi.json");
      expect(Object.keys(paths).includes("/v2/models/digits/generate")).toBe(isThere);
      const { status } = await server.post({ text_input: "x" }, { path: "/v2/models/digits/generate" });
      expect(status).toBe(isThere ? 200 : 400);
    }
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
