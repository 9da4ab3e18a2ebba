// Part "images": size and build time of images, cold, after a retrain, unchanged.
import { appendFile, cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildImage, functionDeployer, onnx } from "windjammer";
import { docker } from "windjammer/runtimes/docker";
import { Engine } from "../../core/runtimes/engine.ts";
import type { Table } from "./report.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const DEFAULT_BASE = "node:24-bookworm-slim";

interface Built {
  readonly seconds: number;
  readonly image: string;
}

export async function measureImages(baseImage: string = DEFAULT_BASE): Promise<Table> {
  const engine = await Engine.connect(undefined);
  const sizeOf = async (image: string): Promise<number> => (await engine.findImage(image))?.sizeBytes ?? 0;
  const base = await sizeOf(baseImage);
  const rows: Table["rows"][number][] = [];
  const images = new Set<string>();
  const folder = await mkdtemp(join(tmpdir(), "wj-bench-images-"));
  try {
    for (const [name, build] of await models(folder, baseImage)) {
      const cold = await build("1", true);
      const unchanged = await build("1", false);
      const retrained = await build("2", true);
      for (const { image } of [cold, unchanged, retrained]) images.add(image);
      const size = await sizeOf(cold.image);
      rows.push([
        name,
        megabytes(size),
        megabytes(size - base),
        ...[cold, retrained, unchanged].map(inSeconds),
      ]);
    }
  } finally {
    for (const image of images) await engine.removeImage(image);
    await rm(folder, { recursive: true, force: true });
  }
  return {
    part: "images",
    yardstick: `On ${baseImage}, ${megabytes(base)} MB. Cold: all steps run; retrained: other weights or code; unchanged: once more.`,
    columns: ["model", "image MB", "above base MB", "cold s", "retrained s", "unchanged s"],
    rows,
  };
}

type Build = (version: string, isChanged: boolean) => Promise<Built>;

async function models(
  folder: string,
  baseImage: string,
): Promise<readonly (readonly [name: string, build: Build])[]> {
  // Steps that saw another value of it are not taken from the cache.
  const buildArgs = { WINDJAMMER_BENCH: String(Date.now()) };
  const runtime = (): ReturnType<typeof docker> => docker({ baseImage, buildArgs });
  const weights = join(folder, "digits.onnx");
  const code = join(folder, "sum.ts");
  await cp(join(EXAMPLES, "digits/digits.onnx"), weights);
  await cp(join(EXAMPLES, "functions/sum.ts"), code);
  return [
    [
      "ONNX, onnxruntime-node",
      async (version, isChanged) => {
        // An unknown field, which readers of protobuf skip: other bytes, the same network.
        if (isChanged) await appendFile(weights, unknownField());
        return timed(() => buildImage(onnx, { name: "bench-onnx", version, model: weights }, runtime()));
      },
    ],
    [
      "function, no packages",
      async (version, isChanged) => {
        if (isChanged) await appendFile(code, `Object.assign(globalThis, { made: ${Date.now()} });\n`);
        const options = {
          name: "bench-sum",
          version,
          module: code,
          export: "sum",
          inputType: "doubles",
        } as const;
        return timed(() => buildImage(functionDeployer, options, runtime()));
      },
    ],
  ];
}

async function timed(build: () => Promise<{ readonly image: string }>): Promise<Built> {
  const startedAt = performance.now();
  const { image } = await build();
  return { image, seconds: (performance.now() - startedAt) / 1000 };
}

/** Field 999 of eight bytes, as protobuf writes it. */
function unknownField(): Buffer {
  const field = Buffer.alloc(10);
  field.writeUInt16LE(0x3eb9, 0);
  field.writeBigUInt64LE(BigInt(Date.now()), 2);
  return field;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function inSeconds({ seconds }: Built): string {
  return seconds.toFixed(1);
}
