// Images by both builders of an engine, and what a rebuild keeps: the packages of the first build, not its base image.
import { describe, expect, it } from "vitest";
import { PackageNotFoundError } from "../../core/errors.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { infer } from "../conformance/replica-client.ts";
import { dockerBench } from "./bench.ts";
import { BASE_IMAGE, hasEngine } from "./engine.ts";
import { historyOf } from "./engine-api.ts";
import { EngineProxy } from "./engine-proxy.ts";

const PACKAGES = { packages: { "is-odd": "3.0.1" } };

function answering(text: string): string {
  return `export const predict = (inputs) => inputs.map(() => ${JSON.stringify(text)});`;
}

/** As in what a build from before could not know. */
function unique(): string {
  return `${Date.now()}-${Math.random()}`;
}

describe.skipIf(!hasEngine)("an image", () => {
  it("is built by BuildKit with the same steps, said as they run, and what is cached", async () => {
    await using bench = await dockerBench({ builder: "buildkit" });
    const replica = await bench.start(answering(unique()), { model: "bench" });
    expect(await infer(replica, [[1]])).toHaveLength(1);
    const steps = bench.reports.filter((line) => line.startsWith("step "));
    expect(steps.some((line) => /^step \d+\/\d+.*: COPY code\/ /.test(line))).toBe(true);
    expect(bench.reports.at(-1)).toMatch(
      /^built windjammer\/bench:\w+ in [\d.]+ s, \d+ steps from the cache$/,
    );
  });

  it("that BuildKit cannot build names the step and its last lines", async () => {
    await using bench = await dockerBench({ builder: "buildkit" });
    const bundle = await bench.bundle(answering("x"), { packages: { "is-number": "99.99.99" } });
    const error = await bench.prepare(bundle).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect((error as Error).message).toMatch(/is-number@99\.99\.99 .* step \d+\/\d+ of packages \(RUN /);
    expect((error as PackageNotFoundError).details["logTail"]).not.toEqual([]);
  });

  it("is built by BuildKit on an engine that has given up the classic builder", async () => {
    await using proxy = await EngineProxy.start(({ url }) =>
      url.pathname.endsWith("/build") && url.searchParams.get("version") !== "2"
        ? { status: 400, message: "the classic builder is no longer supported; use BuildKit" }
        : undefined,
    );
    await using bench = await dockerBench({ host: proxy.host });
    const bundle = await bench.bundle(answering(unique()));
    const image = await bench.prepare(bundle);
    expect(bench.reports).toContain("this engine has no classic builder; building with BuildKit");
    expect(await (await Engine.connect(undefined)).findImage(image)).toBeDefined();
  });

  it("takes a token of an .npmrc for the installation, and has it in no layer", async () => {
    const token = `secret-${unique()}`;
    await using bench = await dockerBench({ npmrc: `//registry.example.org/:_authToken=${token}\n` });
    const bundle = await bench.bundle(answering(unique()), PACKAGES);
    const image = await bench.prepare(bundle);
    const engine = await Engine.connect(undefined);
    for (const path of ["/app/.npmrc", "/run/npmrc"]) {
      expect((await engine.readFile(image, path)) ?? "").not.toContain(token);
    }
    expect(await historyOf(image)).not.toContain(token);
    const stages = (await engine.images({ "windjammer.stage": undefined })).filter(
      ({ tags }) => tags.length === 0,
    );
    for (const { id } of stages) expect(await historyOf(id)).not.toContain(token);
  });

  it("that has to be built again has the packages of the first build, and the same name", async () => {
    // Told that the image goes, the runtime would build it in the background, before this test asks for it.
    await using deaf = await EngineProxy.start(({ url }) =>
      url.pathname.endsWith("/events") ? { status: 500, message: "no events" } : undefined,
    );
    await using bench = await dockerBench({ host: deaf.host });
    const bundle = await bench.bundle(answering(unique()), PACKAGES);
    const image = await bench.prepare(bundle, { version: "1" });
    const engine = await Engine.connect(undefined);
    const lockfile = await engine.readFile(image, "/app/package-lock.json");
    expect(JSON.parse(lockfile ?? "")).toMatchObject({ packages: { "node_modules/is-number": {} } });
    await engine.removeImage(image);

    bench.reports.length = 0;
    expect(await bench.prepare(bundle, { version: "1" })).toBe(image);
    expect(bench.reports.some((line) => line.includes("COPY package.json package-lock.json"))).toBe(true);
    expect(JSON.parse((await engine.readFile(image, "/app/package-lock.json")) ?? "")).toEqual(
      JSON.parse(lockfile ?? ""),
    );
  });

  it("is built anew when its base image is another one by the same name", async () => {
    const engine = await Engine.connect(undefined);
    try {
      await engine.tag(BASE_IMAGE, "windjammer-test-changing", "1");
      await using bench = await dockerBench({ baseImage: "windjammer-test-changing:1" });
      const bundle = await bench.bundle(answering(unique()));
      const image = await bench.prepare(bundle);
      const first = await engine.findImage(image);
      await bench.prepare(bundle);
      expect((await engine.findImage(image))?.id).toBe(first?.id);

      await engine.tag(image, "windjammer-test-changing", "1");
      await bench.prepare(bundle);
      expect(bench.reports).toContain(
        `base image windjammer-test-changing:1 is another one now: building ${image} anew`,
      );
      expect((await engine.findImage(image))?.id).not.toBe(first?.id);

      // A base image that was tidied away takes nothing from the images on it.
      await engine.removeImage("windjammer-test-changing:1");
      bench.reports.length = 0;
      await bench.prepare(bundle);
      expect(bench.reports).toEqual([`image ${image} is there already`]);
    } finally {
      await engine.removeImage("windjammer-test-changing:1").catch(() => {});
    }
  });

  it("takes the layers of its packages with it when no other version has the same", async () => {
    const engine = await Engine.connect(undefined);
    await using bench = await dockerBench();
    const fields = { packages: { "is-number": "5.0.0" } };
    const [one, two] = [
      await bench.bundle(answering(unique()), fields),
      await bench.bundle(answering(unique()), fields),
    ];
    const image = await bench.prepare(one, { version: "1" });
    await bench.prepare(two, { version: "2" });
    const key = (await engine.findImage(image))?.labels["windjammer.packages"];
    const stages = async (): Promise<number> =>
      (await engine.images({ "windjammer.stage": key })).filter(({ tags }) => tags.length === 0).length;
    expect(await stages()).toBeGreaterThan(0);
    await bench.runtime.forget?.(one.hash);
    expect(await stages()).toBeGreaterThan(0);
    await bench.runtime.forget?.(two.hash);
    expect(await stages()).toBe(0);
  });
});
