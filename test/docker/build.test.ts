// Building images: what a retrain rebuilds, how much memory a large model takes, and what goes wrong.
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hashFolder } from "../../core/deploy/bundle.ts";
import { ImageBuildError, PackageNotFoundError } from "../../core/errors.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import type { BundleFolder } from "../../core/types.ts";
import { dockerBench } from "./bench.ts";
import { hasEngine } from "./engine.ts";

const SOURCE = `export const predict = (inputs) => inputs.map(() => ${Date.now()});`;

async function withWeights(bundle: BundleFolder, weights: string): Promise<BundleFolder> {
  await writeFile(join(bundle.files, "weights.bin"), weights);
  return { ...bundle, hash: await hashFolder(bundle.files) };
}

describe.skipIf(!hasEngine)("an image", () => {
  it("is built once; new weights rebuild only the layer that holds them; and it goes when it is not needed", async () => {
    await using bench = await dockerBench();
    const fields = { packages: { "is-number": "7.0.0" } };
    const first = await withWeights(await bench.bundle(SOURCE, fields), "old weights");
    const image = await bench.prepare(first, { version: "1" });
    const engine = await Engine.connect(undefined);
    expect(await engine.findImage(image)).toBeDefined();

    bench.reports.length = 0;
    expect(await bench.prepare(first, { version: "1" })).toBe(image);
    expect(bench.reports).toEqual([`image ${image} is there already`]);

    bench.reports.length = 0;
    const retrained = await withWeights(await bench.bundle(SOURCE, fields), "new weights");
    await bench.prepare(retrained, { version: "2" });
    const steps = bench.reports.filter((line) => line.startsWith("step "));
    const rebuilt = steps.find((line) => !line.includes("(cached)") && !line.includes(": FROM "));
    expect(steps.find((line) => line.includes("RUN"))).toContain("(cached)");
    expect(rebuilt).toContain("COPY weights/");

    await bench.runtime.forget?.(first.hash);
    expect(await engine.findImage(image)).toBeUndefined();
    await bench.runtime.forget?.(retrained.hash);
  });

  it("of a model of 1 GB is streamed, not held", async () => {
    await using bench = await dockerBench();
    const bundle = await bench.bundle(SOURCE);
    await using file = await open(join(bundle.files, "weights.bin"), "w");
    await file.truncate(2 ** 30);
    const before = process.memoryUsage.rss();
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, 20);
    await bench.prepare(bundle);
    clearInterval(timer);
    expect(most - before).toBeLessThan(256 * 2 ** 20);
    await bench.runtime.forget?.(bundle.hash);
  });

  it("is not built with a package that does not exist: the error names it and the step", async () => {
    await using bench = await dockerBench();
    const bundle = await bench.bundle(SOURCE, { packages: { "is-number": "99.99.99" } });
    const error = await bench.prepare(bundle).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect((error as Error).message).toMatch(/is-number@99\.99\.99 .* step \d+\/\d+ \(RUN /);
    expect((error as PackageNotFoundError).details["logTail"]).not.toEqual([]);
  });

  it("is not built on a base image that is nowhere: the error says which option to correct", async () => {
    await using bench = await dockerBench({ baseImage: "localhost:1/no-such-image:1" });
    const failure = bench.prepare(await bench.bundle(SOURCE));
    await expect(failure).rejects.toThrow(ImageBuildError);
    await expect(failure).rejects.toThrow(/pulling localhost:1\/no-such-image:1 failed: /);
  });

  it("is pushed again and again to a registry that does not answer, and the error names both", async () => {
    await using bench = await dockerBench({ push: { repository: "127.0.0.1:1/models", tries: 2 } });
    const bundle = await bench.bundle(SOURCE);
    await expect(bench.prepare(bundle)).rejects.toThrow(
      /pushing 127\.0\.0\.1:1\/models\/bench:\w+ failed: .*connection refused/,
    );
    expect(bench.reports.filter((line) => line.endsWith("; attempt 1 of 2"))).toHaveLength(1);
    await bench.runtime.forget?.(bundle.hash);
  });

  it("whose build is cancelled leaves no container and can be built later", async () => {
    await using bench = await dockerBench();
    const controller = new AbortController();
    const bundle = await bench.bundle(SOURCE, { packages: { "is-number": "6.0.0" } });
    const failed = bench.prepare(bundle, {
      signal: controller.signal,
      report: (message) => {
        if (message.includes("RUN export")) controller.abort(new Error("changed my mind"));
      },
    });
    await expect(failed).rejects.toThrow("changed my mind");
    await bench.prepare(bundle);
    await bench.runtime.forget?.(bundle.hash);
  });
});
