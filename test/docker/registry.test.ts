// Images to and from a registry: pushes with and without a login, pulls by each policy, what is said on the way.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployContainer, ImageBuildError, windjammer } from "../../deployers/index.ts";
import { contextStream } from "../../core/runtimes/docker/context.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { dockerBench } from "./bench.ts";
import { hasEngine, testDocker } from "./engine.ts";
import { template } from "./foreign-template.ts";
import { hasRegistry, LOGIN, Registry } from "./registry.ts";

const SOURCE = `export const predict = (inputs) => inputs.map(() => "pushed");`;
/** Enough for an engine to say how far it has come. */
const LAYER_BYTES = 8 << 20;
/** A base image that takes no time to push: none of its models is run. */
const SMALL = { baseImage: "windjammer-test-small:1", transport: "port" } as const;

/** A base image that nobody has seen before: enough to build on where no step runs. @returns its name */
async function newBase(engine: Engine, name: string): Promise<void> {
  const texts = {
    Dockerfile: "FROM scratch\nCOPY blob /blob\n",
    blob: randomBytes(LAYER_BYTES / 2).toString("hex"),
  };
  const request = {
    tag: name,
    buildArgs: {},
    networkMode: undefined,
    labels: {},
    isPulling: false,
    logins: {},
  };
  const signal = new AbortController().signal;
  for await (const { error } of engine.build(
    contextStream(texts, []),
    { ...request, builder: "classic" },
    signal,
  ))
    if (error !== undefined) throw new Error(error);
}

async function drain(messages: AsyncIterable<{ readonly error?: string }>): Promise<void> {
  for await (const { error } of messages) if (error !== undefined) throw new Error(error);
}

/** All the percents that were said of a transfer, in order. */
function percents(reports: readonly string[], verb: "pulling" | "pushing"): readonly number[] {
  return reports.flatMap((line) => {
    const percent = new RegExp(`^${verb} \\S+: (\\d+) %$`).exec(line)?.[1];
    return percent === undefined ? [] : [Number(percent)];
  });
}

describe.skipIf(!hasEngine || !hasRegistry)("an image and a registry", () => {
  let engine: Engine;
  let open: Registry;
  let locked: Registry;
  const silent = new AbortController().signal;

  beforeAll(async () => {
    engine = await Engine.connect(undefined);
    await newBase(engine, SMALL.baseImage);
    open = await Registry.start();
    locked = await Registry.start({ hasLogin: true });
  });

  afterAll(async () => {
    await engine?.removeImage(SMALL.baseImage);
    await open?.[Symbol.asyncDispose]();
    await locked?.[Symbol.asyncDispose]();
  });

  /** A base image that only the registry has. */
  async function baseIn(registry: Registry, name: string): Promise<string> {
    const image = `${registry.address}/${name}:1`;
    await newBase(engine, image);
    await drain(engine.push(image, registry === locked ? LOGIN : undefined, silent));
    await engine.removeImage(image);
    return image;
  }

  it("is pushed with percents, is in the registry by the digest that is said, and is pushed but once", async () => {
    const push = { repository: `${open.address}/models` };
    await using bench = await dockerBench({ ...SMALL, push });
    const bundle = await bench.bundle(SOURCE);
    const tag = (await bench.prepare(bundle, { version: "1" })).split(":")[1] ?? "";
    const said = percents(bench.reports, "pushing");
    expect(said.at(-1)).toBe(100);
    expect(said).toEqual(said.toSorted((one, other) => one - other));
    const digest = await open.digestOf("models/bench", tag);
    expect(digest).toMatch(/^sha256:/);
    expect(bench.reports.at(-1)).toBe(`pushed ${open.address}/models/bench:${tag}`);
    expect(bench.details.at(-1)).toMatchObject({ digest });

    bench.reports.length = 0;
    await bench.prepare(bundle, { version: "1" });
    expect(percents(bench.reports, "pushing")).toEqual([]);
  });

  it("is pushed with a login; a wrong password is refused at once, and named", async () => {
    const repository = `${locked.address}/models`;
    await using right = await dockerBench({ ...SMALL, push: { repository, ...LOGIN } });
    const bundle = await right.bundle(SOURCE);
    const tag = (await right.prepare(bundle)).split(":")[1] ?? "";
    expect(await locked.digestOf("models/bench", tag)).toBeDefined();

    for (const login of [{ ...LOGIN, password: "wrong" }, {}]) {
      await using wrong = await dockerBench({ ...SMALL, push: { repository, ...login } });
      const failure = wrong.prepare(await wrong.bundle(SOURCE));
      await expect(failure).rejects.toThrow(ImageBuildError);
      await expect(failure).rejects.toThrow(
        /pushing 127\S+ failed: .*; the registry wants a login: correct user/,
      );
      expect(wrong.reports.filter((line) => line.includes("attempt"))).toEqual([]);
    }
  });

  it("is pushed in the end to a registry that was away for a while", async () => {
    await using registry = await Registry.start();
    await registry.end();
    // Pauses that grow up to 16 s: it may take its time to come back.
    const push = { repository: `${registry.address}/models`, tries: 6 };
    await using bench = await dockerBench({ ...SMALL, push });
    const back: Promise<void>[] = [];
    const tag = await bench.prepare(await bench.bundle(SOURCE), {
      report: (message) => {
        if (message.endsWith("; attempt 1 of 6")) back.push(registry.begin());
      },
    });
    await Promise.all(back);
    expect(back).toHaveLength(1);
    expect(await registry.digestOf("models/bench", tag.split(":")[1] ?? "")).toBeDefined();
  });

  it("is fetched where it is missing, with percents; always, when a newer one may be there; or never", async () => {
    const baseImage = await baseIn(open, "bases/policy");
    await using never = await dockerBench({ baseImage, transport: "port", pull: "never" });
    const refused = never.prepare(await never.bundle(SOURCE));
    await expect(refused).rejects.toThrow(ImageBuildError);
    await expect(refused).rejects.toThrow(/policy:1 is not on this engine, and pull: "never"/);

    await using missing = await dockerBench({ baseImage, transport: "port" });
    const bundle = await missing.bundle(SOURCE);
    const image = await missing.prepare(bundle);
    expect(percents(missing.reports, "pulling").at(-1)).toBe(100);
    const first = await engine.findImage(image);

    // Another one by the same name, which this engine does not have.
    await engine.removeImage(baseImage);
    const newer = await baseIn(open, "bases/policy");
    expect(newer).toBe(baseImage);
    missing.reports.length = 0;
    await missing.prepare(bundle);
    expect((await engine.findImage(image))?.id).toBe(first?.id);
    await using always = await dockerBench({ baseImage, transport: "port", pull: "always" });
    await always.prepare(bundle);
    expect(percents(always.reports, "pulling").at(-1)).toBe(100);
    expect((await engine.findImage(image))?.id).not.toBe(first?.id);
    // Here now, so that nothing has to be fetched.
    await never.prepare(bundle);
    await engine.removeImage(baseImage);
  });

  it("is fetched with a login of its registry, which no other registry sees", async () => {
    const baseImage = await baseIn(locked, "bases/private");
    await using stranger = await dockerBench({ baseImage, transport: "port" });
    await expect(stranger.prepare(await stranger.bundle(SOURCE))).rejects.toThrow(
      /the registry wants a login/,
    );
    const elsewhere = { ...LOGIN, serveraddress: open.address };
    await using wrong = await dockerBench({ baseImage, transport: "port", pullLogin: elsewhere });
    await expect(wrong.prepare(await wrong.bundle(SOURCE))).rejects.toThrow(/the registry wants a login/);
    const pullLogin = { ...LOGIN, serveraddress: locked.address };
    await using member = await dockerBench({ baseImage, transport: "port", pullLogin });
    await member.prepare(await member.bundle(SOURCE));
    await engine.removeImage(baseImage);
  });

  it("serves, when a deployment names it in a registry", async () => {
    const runtime = testDocker({ push: { repository: `${open.address}/servers` } });
    await using wj = await windjammer({ port: 0, adminPort: 0, runtime });
    const messages: string[] = [];
    await deployContainer(wj, {
      name: "first",
      version: "1",
      dockerfile: await template(),
      onEvent: ({ message }) => messages.push(message),
    });
    const built = /^pushed (\S+)$/m.exec(messages.join("\n"))?.[1] ?? "";
    expect(built).toContain(`${open.address}/servers/first:1-`);
    await wj.deleteApplication("first");
    await wj.deleteModel("first");
    for (const tag of (await engine.findImage(built))?.tags ?? []) await engine.removeImage(tag);
    expect(await engine.findImage(built)).toBeUndefined();

    messages.length = 0;
    const app = await deployContainer(wj, {
      name: "second",
      version: "1",
      image: built,
      onEvent: ({ message }) => messages.push(message),
    });
    expect(await app.predict([1, 2])).toBe(3);
  });
});
