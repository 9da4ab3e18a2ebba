// Where queries go: one version each, through links, switches and deletions, over the real registry.
import { describe, expect, test } from "vitest";
import { Metrics } from "../../../core/metrics.ts";
import { Router, type Served } from "../../../core/query/router.ts";
import { MemoryStore } from "../../../core/registry/memory-store.ts";
import { Registry } from "../../../core/registry/registry.ts";
import type { Application } from "../../../core/types.ts";
import { FakeServed, valueManifest, version } from "./fakes.ts";

const manifest = valueManifest("doubles");
const application: Application = { name: "digits", inputType: "doubles" };

async function setUp(): Promise<{
  registry: Registry;
  running: Map<string, Served>;
  router: Router;
  metrics: Metrics;
}> {
  const registry = await Registry.open(new MemoryStore());
  const running = new Map<string, Served>();
  const metrics = new Metrics();
  const serving = { find: (model: string, name: string) => running.get(`${model}/${name}`) };
  return { registry, running, metrics, router: new Router({ registry, serving, metrics }) };
}

describe("the router", () => {
  test("follows a publish at once, and gives each query exactly one version", async () => {
    const { registry, running, router } = await setUp();
    expect(() => router.resolve("digits")).toThrow('no application "digits"; none is deployed yet');
    for (const name of ["1", "2"]) {
      const published = version(manifest, name);
      running.set(`digits/${name}`, new FakeServed(published));
      await registry.publish({ version: published, application, retire: true });
      const target = router.resolve("digits");
      expect(target.version?.version).toBe(name);
      expect(target.served).toBe(running.get(`digits/${name}`));
      expect(target.isPinned).toBe(false);
    }
    expect(router.resolve("digits", "1")).toMatchObject({ isPinned: true, version: { version: "1" } });
    expect(router.current("digits")).toBe(running.get("digits/2"));
  });

  test("knows an application without a model, and one whose version does not run", async () => {
    const { registry, running, router } = await setUp();
    await registry.putApplication(application);
    expect(router.resolve("digits")).toMatchObject({
      served: undefined,
      manifest: undefined,
      error: { code: "NO_MODEL_LINKED" },
    });
    const published = version(manifest);
    await registry.publish({ version: published, application, retire: true });
    expect(router.resolve("digits")).toMatchObject({
      served: undefined,
      manifest,
      error: { code: "NO_REPLICA" },
    });
    running.set("digits/1", new FakeServed(published));
    expect(router.resolve("digits").error).toBeUndefined();
    await registry.unlink("digits", "digits");
    expect(router.resolve("digits").error?.code).toBe("NO_MODEL_LINKED");
  });

  test("says why a version does not run: being started, failed, or not asked to", async () => {
    const { registry, metrics } = await setUp();
    const opening = { isOpening: false, lastError: undefined as string | undefined };
    const serving = { find: () => undefined };
    const router = new Router({ registry, serving, metrics, opening: { openingOf: () => opening } });
    await registry.publish({ version: version(manifest, "1"), application, retire: true });
    await registry.publish({ version: version(manifest, "2"), application, retire: true });
    const message = (name?: string): string => router.resolve("digits", name).error?.message ?? "";
    expect(message()).toBe(
      'model digits version 2 does not run; start a replica with scale("digits", 1, "2")',
    );
    expect(message("1")).toContain("version 1 does not run (the current version is 2)");
    opening.isOpening = true;
    expect(message()).toContain("is being started");
    opening.lastError = "no network";
    expect(message()).toBe("model digits version 2 does not run: no network; it is tried again and again");
  });

  test("forgets a deleted application and its metrics, and says what there is instead", async () => {
    const { registry, router, metrics } = await setUp();
    await registry.putApplication(application);
    await registry.putApplication({ name: "other", inputType: "json" });
    router.resolve("digits").metrics.outcome("ok", "", 1);
    expect(await metrics.text()).toContain('application="digits"');
    await registry.deleteApplication("digits");
    expect(() => router.resolve("digits")).toThrow('no application "digits"; there is other');
    expect(await metrics.text()).not.toContain('application="digits"');
  });

  test("names unknown versions with those there are", async () => {
    const { registry, router } = await setUp();
    await registry.publish({ version: version(manifest), application, retire: true });
    expect(() => router.resolve("digits", "9")).toThrow(
      "Requested version: 9 does not exist for model: digits; it has 1",
    );
    expect(() => router.resolve("digits", "x".repeat(5000))).toThrow(/x{100}… does not exist/);
  });

  test("no longer follows the registry once it is closed", async () => {
    const { registry, router } = await setUp();
    router.close();
    await registry.putApplication(application);
    expect(() => router.resolve("digits")).toThrow("no application");
  });

  test("gives each of several processes its part of what a cache may hold", async () => {
    const { registry, metrics } = await setUp();
    const published = version(manifest, "1");
    const served = new FakeServed(published);
    const cache = { maxBytes: 64 * 1024, ttlMs: 60_000 };
    await registry.publish({ version: published, application: { ...application, cache }, retire: true });
    const kept = (cacheParts: number): number => {
      const router = new Router({ registry, serving: { find: () => served }, metrics, cacheParts });
      const ofOne = router.resolve("digits").cache;
      for (let value = 0; value < 1000; value++) {
        const data = new Uint8Array(Float64Array.of(value).buffer);
        const row = { tensors: [{ shape: [1], data }], key: "" };
        const times = { arrivedAt: 0, deadlineAt: Infinity };
        ofOne?.submit({ row, ...times, isAbandoned: false, settle: () => undefined }, served);
      }
      return ofOne?.size ?? 0;
    };
    expect(kept(4) / kept(1)).toBeCloseTo(0.25, 1);
  });
});
