// Dockerfiles as text: the order of their layers, what is kept out of the image, and that no value breaks out.
import { describe, expect, it } from "vitest";
import { dockerfile, packageJson, type ImageSpec } from "../../containers/dockerfile.ts";

const plain: ImageSpec = {
  baseImage: "node:24-bookworm-slim",
  aptPackages: [],
  buildAptPackages: [],
  packages: {},
  packagesKey: "k1",
  scripts: [],
  hasLockfile: false,
  hasNpmrc: false,
  hasWeights: false,
  entry: "server.js",
  buildArguments: [],
  labels: { "windjammer.model": "digits" },
};

function linesOf(spec: Partial<ImageSpec>): string[] {
  return dockerfile({ ...plain, ...spec }).split("\n");
}

function indexOf(lines: readonly string[], pattern: RegExp): number {
  const index = lines.findIndex((line) => pattern.test(line));
  expect(index, `${pattern.source} in\n${lines.join("\n")}`).toBeGreaterThanOrEqual(0);
  return index;
}

describe("a Dockerfile", () => {
  it("without packages is short: server, code, user, entry", () => {
    expect(linesOf({})).toEqual([
      "FROM node:24-bookworm-slim",
      'ENV NODE_ENV="production" ORT_DISABLE_TELEMETRY="1" ONNXRUNTIME_NODE_INSTALL="skip" TF_CPP_MIN_LOG_LEVEL="3" WINDJAMMER_MODEL_DIR="/app/model"',
      "WORKDIR /app",
      "COPY server/ /app/server/",
      "COPY code/ /app/model/",
      "USER 1000:1000",
      expect.stringMatching(/^HEALTHCHECK .* CMD \["node","-e",".*"\]$/),
      'ENTRYPOINT ["node","/app/server/server.js"]',
      'LABEL windjammer.model="digits"',
      "",
    ]);
  });

  it("has what changes with every training behind what does not", () => {
    const lines = linesOf({
      packages: { "onnxruntime-node": "1.30.0" },
      aptPackages: ["libgomp1"],
      hasWeights: true,
    });
    const order = [
      /^RUN apt-get/,
      /^RUN export npm_config_cache/,
      /^COPY --from=packages/,
      /^COPY server/,
      /^COPY code/,
      /^COPY weights/,
      /^LABEL (?!"?windjammer\.stage)/,
    ].map((pattern) => indexOf(lines, pattern));
    expect(order).toEqual(order.toSorted((one, other) => one - other));
  });

  it("leaves out of TensorFlow.js what no container runs", () => {
    const text = dockerfile({ ...plain, packages: { "@tensorflow/tfjs-core": "4.22.0" } });
    expect(text).toContain('find node_modules/@tensorflow -type f \\( -name "*.map" -o ');
    expect(dockerfile({ ...plain, packages: { zod: "4.0.0" } })).not.toContain("find node_modules");
  });

  it("installs packages in a stage of its own, so that compilers, caches and tokens stay out of the image", () => {
    const text = dockerfile({
      ...plain,
      packages: { "onnxruntime-node": "1.30.0", bcrypt: "5.1.1" },
      scripts: ["bcrypt"],
      hasLockfile: true,
      hasNpmrc: true,
      buildAptPackages: ["g++", "make"],
      buildArguments: ["HTTPS_PROXY"],
    });
    const [stage = "", image = ""] = text.split("\n\n");
    expect(stage).toMatch(/^FROM node:24-bookworm-slim AS packages$/m);
    expect(stage).toContain("COPY package.json package-lock.json ./");
    expect(stage).toContain("RUN --mount=type=bind,source=.npmrc,target=/run/npmrc export ");
    expect(stage).toContain("npm_config_userconfig=/run/npmrc");
    expect(stage).toContain('LABEL windjammer.stage="k1"');
    expect(stage).toContain("npm ci --omit=dev");
    expect(stage).toContain("--ignore-scripts");
    expect(stage).toContain("npm rebuild --ignore-scripts=false --foreground-scripts -- bcrypt");
    expect(stage).toContain('! -path "*/linux/$(node -p process.arch)"');
    expect(stage).toContain("rm -rf /tmp/npm");
    expect(stage).toContain("--no-install-recommends g++ make");
    expect(stage).toContain("ARG HTTPS_PROXY");
    expect(image).not.toMatch(/npmrc|g\+\+|ARG|npm ci/);
  });

  it("takes no value for an instruction, a variable or another word", () => {
    const value = 'a "quote", a $VARIABLE and a back\\slash';
    const lines = linesOf({ labels: { one: value } });
    expect(lines.at(-2)).toBe(String.raw`LABEL one="a \"quote\", a \$VARIABLE and a back\\slash"`);
  });

  it("comes with a package.json of exact versions and of who may run scripts", () => {
    expect(JSON.parse(packageJson({ packages: { a: "1.0.0", b: "2.0.0" }, scripts: ["b"] }))).toEqual({
      private: true,
      dependencies: { a: "1.0.0", b: "2.0.0" },
      allowScripts: { a: false, b: true },
    });
  });
});
