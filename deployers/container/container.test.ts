import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { InvalidOptionsError, ModelFileNotFoundError, type Manifest } from "../../core/index.ts";
import { testDeployer } from "../../test/conformance/deployer.ts";
import { containerCase } from "../../test/helpers/deployer-cases.ts";
import { installed, project } from "../../test/helpers/project.ts";
import { tempFolder } from "../../test/helpers/temp.ts";
import { container, type ContainerModelOptions } from "./index.ts";

testDeployer(containerCase);

interface Bundled {
  readonly folder: string;
  readonly manifest: Manifest;
}

async function bundle(options: ContainerModelOptions): Promise<Bundled> {
  const folder = await tempFolder("wj-bundle-");
  return { folder, manifest: await container.bundle(options, folder, () => {}) };
}

describe("the manifest of a container", () => {
  it("leaves the contract to the server, unless it is given", async () => {
    const { manifest } = await bundle({ url: "http://models.example.org:8000/" });
    expect(manifest).toMatchObject({
      loader: "url",
      container: { kind: "url", urls: ["http://models.example.org:8000/"] },
      inputType: "tensor",
      contract: { inputs: [], outputs: [], isBatched: true },
    });
    const contract = {
      inputs: [{ name: "x", datatype: "FP32", shape: [2] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [] }],
      isBatched: false,
    } as const;
    const given = await bundle({
      image: "triton:1",
      contract,
      port: 8000,
      modelName: "spam",
      maxBatchSize: 8,
    });
    expect(given.manifest).toMatchObject({
      loader: "image",
      container: { kind: "image", image: "triton:1", port: 8000, modelName: "spam" },
      contract: { ...contract, maxBatchSize: 8 },
    });
  });

  it("takes the packages of a program from its package.json, in exact versions", async () => {
    const folder = await project({
      "package.json": '{"dependencies":{"plain":"^1.0.0","other":"2.0.0"}}',
      "package-lock.json": "{}",
      "server.mjs": "",
      ...installed("plain", "1.2.3"),
    });
    const { manifest, folder: bundled } = await bundle({ command: ["node", "server.mjs"], folder });
    expect(manifest.packages).toEqual({ other: "2.0.0", plain: "1.2.3" });
    expect((await readdir(bundled)).toSorted()).toEqual(["package.json", "server.mjs"]);
  });

  it("refuses a range of which nothing is installed", async () => {
    const folder = await project({ "package.json": '{"dependencies":{"nowhere":"^1.0.0"}}' });
    await expect(bundle({ command: ["node"], folder })).rejects.toThrow(InvalidOptionsError);
  });
});

describe("the folder of a Dockerfile", () => {
  it("is named by itself or by the file, and comes without what .dockerignore names", async () => {
    const folder = await project({
      Dockerfile: "FROM scratch",
      ".dockerignore": "# left out\n*.log\n!kept.log\ndata/\nDockerfile",
      "server.py": "1",
      "noise.log": "",
      "kept.log": "",
      "data/large.bin": "",
      "node_modules/x/index.js": "",
      "lib/data/small.bin": "",
    });
    for (const dockerfile of [folder, join(folder, "Dockerfile")]) {
      const { manifest, folder: bundled } = await bundle({ dockerfile });
      expect(manifest.container).toEqual({ kind: "dockerfile" });
      const files = await readdir(bundled, { recursive: true });
      expect(files.toSorted()).toEqual(
        [
          ".dockerignore",
          "Dockerfile",
          "kept.log",
          "lib",
          "lib/data",
          "lib/data/small.bin",
          "server.py",
        ].toSorted(),
      );
      expect(await readFile(join(bundled, "server.py"), "utf8")).toBe("1");
    }
  });

  it("has to have one, and no file of the bundle's own", async () => {
    const folder = await project({ "server.py": "" });
    await expect(bundle({ dockerfile: folder })).rejects.toThrow(ModelFileNotFoundError);
    await writeFile(join(folder, "Dockerfile"), "FROM scratch");
    await writeFile(join(folder, "manifest.json"), "{}");
    await expect(bundle({ dockerfile: folder })).rejects.toThrow(
      "manifest.json, which is the name of the bundle's own",
    );
  });
});
