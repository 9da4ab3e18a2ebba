import { cp, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import {
  InvalidModelFileError,
  InvalidOptionsError,
  ModelFileNotFoundError,
  PackageNotFoundError,
} from "../../core/errors.ts";
import { bundleModule, moduleExports, type BundledModule } from "../../deployers/module-bundle.ts";
import { installed, project, writeFiles } from "../helpers/project.ts";
import { tempFolder } from "../helpers/temp.ts";

interface Bundled extends BundledModule {
  readonly folder: string;
  readonly code: string;
  /** The bundle's exports; it runs with the packages of `packagesFrom`. */
  load(packagesFrom?: string): Promise<Readonly<Record<string, unknown>>>;
}

async function bundle(
  module: string | URL,
  options: {
    readonly exports?: readonly string[];
    readonly packages?: Readonly<Record<string, string>>;
  } = {},
): Promise<Bundled> {
  const folder = await tempFolder("wj-bundle-");
  const bundled = await bundleModule(
    { module, exports: options.exports ?? ["predict"], packages: options.packages },
    { folder, fileName: "function.mjs" },
    () => {},
  );
  return {
    ...bundled,
    folder,
    code: await readFile(join(folder, "function.mjs"), "utf8"),
    async load(packagesFrom) {
      if (packagesFrom !== undefined) {
        await symlink(join(packagesFrom, "node_modules"), join(folder, "node_modules"));
      }
      return import(pathToFileURL(join(folder, "function.mjs")).href);
    },
  };
}

/** Runs the bundle's `predict` on one input, in Node. */
async function predict(bundled: Bundled, packagesFrom?: string): Promise<unknown> {
  const { predict: fn } = await bundled.load(packagesFrom);
  return (fn as (inputs: readonly unknown[]) => unknown)([1]);
}

/** The error of a bundle that must fail. */
async function failure(attempt: Promise<unknown>): Promise<Error & { readonly details: object }> {
  return attempt.then(
    () => expect.unreachable("it should have failed"),
    (error: Error & { readonly details: object }) => error,
  );
}

describe("what goes into the bundle of a module", () => {
  it("takes the user's files, TypeScript and JSON, and waits for top-level await", async () => {
    const folder = await project({
      "model.ts": `
        import { scale, type Scaler } from "./lib/scale.ts";
        import words from "./words.json" with { type: "json" };
        const factor: number = await Promise.resolve(words.factor);
        export const predict: Scaler = (inputs) => scale(inputs, factor);`,
      "lib/scale.ts": `
        export type Scaler = (inputs: readonly number[]) => number[];
        export const scale = (inputs: readonly number[], factor: number): number[] => inputs.map((x) => x * factor);`,
      "words.json": '{ "factor": 3 }',
    });
    const bundled = await bundle(join(folder, "model.ts"));
    expect(bundled.packages).toEqual({});
    expect(await predict(bundled)).toEqual([3]);
  });

  it("leaves packages outside and gives the version that each importing file finds", async () => {
    const folder = await project({
      "model.mjs": `
        import { version } from "plain";
        import { part } from "@scope/name/part";
        import { join } from "node:path";
        import { sep } from "path";
        export const predict = async () => [version, part, (await import("late")).version, join("a", "b") === \`a\${sep}b\`];`,
      ...installed("plain", "1.2.3"),
      ...installed("@scope/name", "2.0.0-beta.1"),
      ...installed("late", "0.0.1"),
      ...installed("unused", "9.9.9"),
    });
    const bundled = await bundle(join(folder, "model.mjs"));
    expect(bundled.packages).toEqual({ "@scope/name": "2.0.0-beta.1", late: "0.0.1", plain: "1.2.3" });
    expect(bundled.code).not.toContain('"1.2.3"');
    expect(await predict(bundled, folder)).toEqual(["1.2.3", "part of 2.0.0-beta.1", "0.0.1", true]);
  });

  it("takes files of a workspace package that node_modules links to", async () => {
    const folder = await project({
      "app/model.ts":
        'import { twice } from "own-lib"; export const predict = (xs: number[]) => xs.map(twice);',
      "packages/own-lib/package.json":
        '{ "name": "own-lib", "version": "1.0.0", "exports": "./src/index.ts" }',
      "packages/own-lib/src/index.ts":
        'import { version } from "plain"; export const twice = (x: number): unknown => [2 * x, version];',
      ...installed("plain", "1.2.3"),
      "app/node_modules/.keep": "",
    });
    await symlink(join(folder, "packages/own-lib"), join(folder, "app/node_modules/own-lib"));
    const bundled = await bundle(join(folder, "app/model.ts"));
    expect(bundled.packages).toEqual({ plain: "1.2.3" });
    expect(await predict(bundled, folder)).toEqual([[2, "1.2.3"]]);
  });

  it("runs CommonJS files with require of packages and of Node's modules, beside an own createRequire", async () => {
    const folder = await project({
      "model.mts": `
        import { createRequire } from "node:module";
        import legacy from "./legacy.cjs";
        const require = createRequire(import.meta.url);
        export const predict = () => [legacy.run(), typeof require("node:fs").readFileSync, legacy.dir === import.meta.dirname];`,
      "legacy.cjs": `
        const { version } = require("plain");
        const path = require("path");
        exports.run = () => path.posix.join(version, "x");
        exports.dir = __dirname;`,
      ...installed("plain", "1.2.3"),
    });
    const bundled = await bundle(join(folder, "model.mts"));
    expect(bundled.packages).toEqual({ plain: "1.2.3" });
    expect(await predict(bundled, folder)).toEqual(["1.2.3/x", "function", true]);
  });

  it("takes a named export of a CommonJS module, and a default one", async () => {
    const folder = await project({
      "model.cjs": "module.exports = { predict: (inputs) => inputs.map((x) => x + 1) };",
      "single.cjs": "module.exports = (inputs) => inputs.length;",
    });
    expect(await predict(await bundle(join(folder, "model.cjs")))).toEqual([2]);
    const single = await (await bundle(join(folder, "single.cjs"), { exports: ["default"] })).load();
    expect((single["default"] as (inputs: unknown[]) => number)([1, 2])).toBe(2);
  });

  it("finds an export that comes from another file or from a package by export *", async () => {
    const folder = await project({
      "model.ts": 'export * from "./inner.ts"; export * from "plain";',
      "inner.ts": "export const predict = () => ['inner'];",
      ...installed("plain", "1.2.3", "export const classify = () => ['package'];"),
    });
    expect(await predict(await bundle(join(folder, "model.ts")), folder)).toEqual(["inner"]);
    const starred = await (await bundle(join(folder, "model.ts"), { exports: ["classify"] })).load(folder);
    expect((starred["classify"] as () => unknown)()).toEqual(["package"]);
  });

  it("is the same, byte for byte, wherever the sources lie, and names no folder of the machine", async () => {
    const here = await project({
      "src/model.ts":
        'import { b } from "../lib/b.cjs"; import { version } from "plain"; export const predict = () => { throw new Error(b + version); };',
      "lib/b.cjs": 'exports.b = require("plain").version;',
      ...installed("plain", "1.2.3"),
    });
    const there = join(await tempFolder(), "deeper", "copy");
    await cp(here, there, { recursive: true });
    const [first, second] = [
      await bundle(join(here, "src/model.ts")),
      await bundle(join(there, "src/model.ts")),
    ];
    for (const file of ["function.mjs", "function.mjs.map"]) {
      const text = await readFile(join(first.folder, file), "utf8");
      expect(await readFile(join(second.folder, file), "utf8")).toBe(text);
      expect(text).not.toContain(here);
    }
    const map = JSON.parse(await readFile(join(first.folder, "function.mjs.map"), "utf8"));
    expect(map.sources).toContain("model.ts");
    expect(map.sourcesContent).toBeUndefined();
  });

  it("leaves out an optional package of a try block that is not installed, and says so", async () => {
    const folder = await project({
      "model.cjs":
        'let x = "without"; try { x = require("fast-thing"); } catch {} exports.predict = () => [x];',
    });
    const bundled = await bundle(join(folder, "model.cjs"));
    expect(bundled.packages).toEqual({});
    expect(bundled.notes).toEqual([expect.stringContaining("fast-thing")]);
    expect(await predict(bundled)).toEqual(["without"]);
  });
});

describe("declared packages", () => {
  it("come over the installed versions and beside the imports", async () => {
    const folder = await project({
      "model.ts": 'import { version } from "plain"; import "absent"; export const predict = () => [version];',
      ...installed("plain", "1.2.3"),
    });
    const { packages } = await bundle(join(folder, "model.ts"), {
      packages: { plain: "1.3.0", absent: "4.0.0", "loaded-by-name": "2.1.0" },
    });
    expect(packages).toEqual({ absent: "4.0.0", "loaded-by-name": "2.1.0", plain: "1.3.0" });
  });

  it.each(["^1.0.0", "latest", "1.x", "github:me/plain", "1.2"])(
    "refuse %s and name the installed version",
    async (range) => {
      const folder = await project({
        "model.ts": "export const predict = 1;",
        ...installed("plain", "1.2.3"),
      });
      const error = await failure(bundle(join(folder, "model.ts"), { packages: { plain: range } }));
      expect(error).toBeInstanceOf(InvalidOptionsError);
      expect(error.message).toContain(range);
      expect(error.message).toContain('write "1.2.3"');
    },
  );

  it("settle which of two installed versions it is", async () => {
    const folder = await project({
      "model.ts":
        'import "./inner/other.ts"; import { version } from "plain"; export const predict = () => [version];',
      "inner/other.ts": 'import "plain";',
      ...installed("plain", "1.2.3"),
    });
    await writeFiles(join(folder, "inner"), installed("plain", "2.0.0"));
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(InvalidOptionsError);
    expect(error.message).toMatch(/1\.2\.3 by .*model\.ts/);
    expect(error.message).toMatch(/2\.0\.0 by .*other\.ts/);
    const { packages } = await bundle(join(folder, "model.ts"), { packages: { plain: "2.0.0" } });
    expect(packages).toEqual({ plain: "2.0.0" });
  });
});

describe("what cannot be bundled says why", () => {
  it.each([
    ["absent.ts", "absent.ts does not exist"],
    ["folder", "folder is a folder"],
  ])("%s", async (name, message) => {
    const folder = await project({ "folder/x.ts": "" });
    const error = await failure(bundle(join(folder, name)));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toContain(message);
  });

  it("that ends too early is told in one line: there is no text at its end", async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, "cut.ts"), "export const predict = (rows) => rows.map((\n");
    const error = await failure(bundle(join(folder, "cut.ts")));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toMatch(/cut\.ts:2:1: Unexpected end of file$/);
  });

  it("a file that is no module", async () => {
    const folder = await project({ "model.py": "print(1)" });
    const error = await failure(bundle(join(folder, "model.py")));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toContain(".mts");
  });

  it("a missing export, with those there are, the nearest first", async () => {
    const folder = await project({
      "model.ts":
        "export const other = 1; export default 2; export const predictAll = 3; export type predict = 4;",
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toContain('has no export "predict": it exports "predictAll", "other", "default"');
    expect(error.message).toContain('export: "predictAll"');
  });

  it("a module without exports", async () => {
    const folder = await project({ "model.ts": "function predict() {}" });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error.message).toContain("it exports nothing");
  });

  it("code that does not compile, with file, line, column and the line", async () => {
    const folder = await project({
      "model.ts": 'import "./broken.ts"; export const predict = 1;',
      "broken.ts": "const fine = 1;\nconst x = = 2;\n",
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toContain("broken.ts:2:11: ");
    expect(error.message).toContain("const x = = 2;");
    expect(error.details).toMatchObject({ file: "broken.ts", line: 2 });
  });

  it("an import of a file that is not there", async () => {
    const folder = await project({ "model.ts": 'import "./gone.ts"; export const predict = 1;' });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toMatch(/model\.ts:1:8: .*gone\.ts/);
  });

  it("a package that is not installed, with the place and the command", async () => {
    const folder = await project({
      "model.ts": 'import x from "@scope/gone/part";\nexport const predict = x;',
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(PackageNotFoundError);
    expect(error.message).toMatch(/model\.ts:1:15: package "@scope\/gone"/);
    expect(error.message).toContain("npm install @scope/gone");
  });

  it("a path that an installed package does not export", async () => {
    const folder = await project({
      "model.ts": 'import x from "plain/hidden";\nexport const predict = x;',
      ...installed("plain", "1.2.3"),
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toContain('"plain/hidden" cannot be imported from plain 1.2.3');
    expect(error.message).toContain("not exported");
  });

  it.each(["require(name)", "import(name)"])(
    "a computed %s, unless the packages are declared",
    async (call) => {
      const folder = await project({
        "model.ts": `import { run } from "./by-name.cjs"; export const predict = run;`,
        "by-name.cjs": `exports.run = (name) => ${call};`,
      });
      const error = await failure(bundle(join(folder, "model.ts")));
      expect(error).toBeInstanceOf(InvalidModelFileError);
      expect(error.message).toContain("by-name.cjs:1:");
      expect(error.message).toContain("option packages");
      await bundle(join(folder, "model.ts"), { packages: {} });
    },
  );

  it("a native add-on of the user's own", async () => {
    const folder = await project({
      "model.ts": 'import addon from "./build/addon.node";\nexport const predict = addon;',
      "build/addon.node": "\u007fELF",
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toContain("model.ts:1:");
    expect(error.message).toContain("native add-on");
  });

  it("a module that deploys itself", async () => {
    const folder = await project({
      "model.ts": 'import { windjammer } from "windjammer";\nexport const predict = 1; await windjammer();',
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error.message).toContain("model.ts:1:");
    expect(error.message).toContain("a file of its own");
  });

  it("a package under another name than its own", async () => {
    const folder = await project({
      "model.ts": 'import "alias"; export const predict = 1;',
      "node_modules/alias/package.json": '{ "name": "real", "version": "1.0.0" }',
      "node_modules/alias/index.js": "",
    });
    const error = await failure(bundle(join(folder, "model.ts")));
    expect(error.message).toContain("package real 1.0.0");
  });
});

describe("the exports of a module", () => {
  it("are known for ES modules, unknown for CommonJS", async () => {
    const folder = await project({
      "model.ts": "export const a = 1; export { b } from './b.ts'; export type c = 1;",
      "b.ts": "export const b = 1;",
      "model.cjs": "exports.a = 1;",
    });
    expect(await moduleExports(join(folder, "model.ts"), undefined)).toEqual(["a", "b"]);
    expect(await moduleExports(join(folder, "model.cjs"), undefined)).toBeUndefined();
  });

  it("are found through a file URL, and through a link to the module", async () => {
    const folder = await project({ "real/model.ts": "export const predict = () => ['real'];" });
    await symlink(join(folder, "real/model.ts"), join(folder, "link.ts"));
    await writeFile(join(folder, "note.txt"), "");
    expect(await predict(await bundle(pathToFileURL(join(folder, "real/model.ts"))))).toEqual(["real"]);
    expect(await predict(await bundle(pathToFileURL(join(folder, "link.ts")).href))).toEqual(["real"]);
  });
});
