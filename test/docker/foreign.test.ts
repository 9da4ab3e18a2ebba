// Images that are not ours: a Dockerfile of the user's, an image that exists, one that knows a port only.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkContainer } from "../../core/check/check-container.ts";
import { reportText } from "../../core/check/report.ts";
import {
  deployContainer,
  ImageBuildError,
  ReplicaStartError,
  windjammer,
  type Windjammer,
} from "../../deployers/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { BASE_IMAGE, hasEngine, testDocker } from "./engine.ts";
import { template } from "./foreign-template.ts";

describe.skipIf(!hasEngine)("a container that is not ours, on Docker", () => {
  let wj: Windjammer;
  const images: string[] = [];

  beforeAll(async () => {
    wj = await windjammer({ port: 0, adminPort: 0, runtime: testDocker() });
  });

  afterAll(async () => {
    await wj?.close();
    const engine = await Engine.connect(undefined);
    for (const image of images) await engine.removeImage(image);
    for (const { tags } of await engine.images({ "windjammer.deployer": "container" }))
      for (const tag of tags) await engine.removeImage(tag);
  });

  it("is built from a Dockerfile with its steps as progress, and served on a socket without a network", async () => {
    const events: string[] = [];
    const app = await deployContainer(wj, {
      name: "own-recipe",
      version: "1",
      dockerfile: await template(),
      examples: [{ input: [1, 2], output: 3 }],
      onEvent: ({ message }) => events.push(message),
    });
    expect(
      await app.predictBatch([
        [1, 2],
        [3, 4],
      ]),
    ).toEqual([3, 7]);
    const said = events.join("\n");
    expect(said).toMatch(/step 1\/\d+(?: \(cached\))?: FROM windjammer-test-base:24/);
    expect(said).toContain("with the contract that it declares");
    const image = /windjammer\/own-recipe:\S+/.exec(said)?.[0] ?? "";
    images.push(image);

    const copy = await deployContainer(wj, { name: "by-name", version: "1", image });
    expect(await copy.predict([5, 6])).toBe(11);
  });

  it("is reached on the port that it knows, whatever its environment says", async () => {
    const folder = await template("stubborn.mjs");
    const text =
      'process.env.PORT = "7001";\ndelete process.env.WINDJAMMER_SOCKET;\nawait import("./server.mjs");\n';
    await writeFile(join(folder, "stubborn.mjs"), text);
    const app = await deployContainer(wj, { name: "stubborn", version: "1", dockerfile: folder, port: 7001 });
    expect(await app.predict([1, 2])).toBe(3);
    await expect(
      deployContainer(wj, { name: "unreached", version: "1", dockerfile: folder, readyTimeoutMs: 3_000 }),
    ).rejects.toThrow(ReplicaStartError);
  });

  it("that cannot be built or found says why, and leaves nothing", async () => {
    const folder = await template();
    await writeFile(join(folder, "Dockerfile"), `FROM ${BASE_IMAGE}\nRUN echo out of cheese && false\n`);
    const broken = deployContainer(wj, { name: "broken", version: "1", dockerfile: folder });
    await expect(broken).rejects.toThrow(ImageBuildError);
    await expect(broken).rejects.toThrow("out of cheese");
    const missing = deployContainer(wj, {
      name: "missing",
      version: "1",
      image: "windjammer-test-nowhere:1",
    });
    await expect(missing).rejects.toThrow("windjammer-test-nowhere");
  });

  it("passes the checks", async () => {
    const folder = await template();
    const target = { shown: folder, source: { kind: "dockerfile" }, folder, runtime: testDocker() } as const;
    const settings = { model: "m", readyTimeoutMs: 30_000, calls: 200, report: () => {} };
    const report = await checkContainer(target, settings);
    expect(reportText(report)).not.toMatch(/^(?:FAIL|warn|skip)/m);
    const engine = await Engine.connect(undefined);
    expect(await engine.images({ "windjammer.deployer": "check" })).toEqual([]);
  });
});
