import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";

/** What README says of captures, with the cases of test/fixtures/functions that show it; they all are deployed. */
const CAPTURED: Readonly<Record<string, readonly string[]>> = {
  primitives: ["constant", "odd numbers", "odd texts", "nothing yet"],
  BigInt: ["bigint"],
  symbols: ["symbols", "symbol keys", "sym", "symDesc"],
  "arrays (sparse too)": ["holes", "plain numbers", "array with properties", "list with an accessor"],
  objects: ["nested object", "null prototype", "__proto__ as a key", "hidden property", "deepProto"],
  accessors: ["accessors", "setter with state", "accessor taken out"],
  "cycles and shared references": ["cyclic object", "list 50,000 deep", "one object twice", "circular"],
  "frozen and sealed": ["frozen", "sealed", "sealed and frozen lists", "frozen function", "frozenMap"],
  "Map, Set": ["map", "map by object identity", "set", "set in itself", "nestedMap"],
  "WeakMap and WeakSet (what can still be looked up)": ["private state in a WeakMap", "WeakSet", "symKeyWm"],
  "Date, RegExp": ["date", "dates", "regexp with state", "lastIndex", "re", "dp"],
  URL: ["url", "search params", "query", "urlsp", "urlp"],
  Error: ["error with cause", "causes", "own error class", "errStack"],
  "typed arrays, Buffer": [
    "typed array",
    "views of one buffer",
    "buffers of the pool",
    "resizable",
    "bigint arrays",
  ],
  "boxed values": ["boxed primitives", "boxed with more"],
  "functions of every kind": [
    "async function",
    "generator",
    "async generator",
    "object methods",
    "names of functions",
  ],
  "bound, recursive, reassigned": ["bound function", "bb", "recursion", "mutual recursion", "reassigned let"],
  "arrows with an outer `this`": ["arrow of a field", "arrow of a method", "this of a constructor function"],
  "default parameters, `arguments`, `new.target`": [
    "defaults that refer to others",
    "arguments",
    "new.target",
  ],
  counters: ["counter goes on", "recursion that counts"],
  "variables that functions or files share": [
    "two functions that write one inner variable",
    "live binding across files",
  ],
  classes: ["class", "class instance", "static members", "static blocks, private methods", "order of fields"],
  "subclasses, also of built-ins and of packages' classes": [
    "subclass with super",
    "subclass of Map",
    "nullBase",
    "subclass of Array",
    "subclass of EventEmitter",
    "instance",
  ],
  "`#private`, static and computed members": [
    "private fields",
    "private statics",
    "computed names in a class",
    "swapped",
  ],
  mixins: ["mixin", "mixins over mixins"],
  "imports of packages and builtins, named, default and namespace": [
    "package named import",
    "package namespace import",
    "package default import",
    "builtin namespace import",
    "subpath",
    "dynamic import",
  ],
  "own files, with live bindings": [
    "own file, named",
    "own file, default",
    "live binding through a namespace",
    "own file whole",
  ],
  "CommonJS, sloppy too": ["require inside", "sloppy this", "octal and sloppy names", "createRequire"],
  TypeScript: ["enum", "annotated arrow", "generic", "abstract class", "overloads", "type guard"],
  "how your files set packages up at their top level": ["packageSetUp"],
  "schemas of zod": ["zod schema", "zod refinement", "zod recursion"],
  "Intl objects": ["number format", "date formats", "nf", "frozenNf"],
  "event emitters": ["event emitter", "emitter that removes"],
  "`process.env` and `console`, by reference": ["env", "log", "process.env"],
};

const REFUSED: Readonly<Record<string, readonly string[]>> = {
  "WeakRef, Proxy": ["weak ref", "proxy", "proxy of a function", "revoked proxy"],
  promises: ["pending promise", "settled promise"],
  "running generators and iterators": ["running generator", "map iterator", "iterator helper"],
  "globals and built-ins that were changed, where the text names them (elsewhere with a warning)": [
    "global of the user",
    "global through another name of globalThis",
    "replaced function of the language",
  ],
  "sockets, streams, ports": ["socket", "stdin", "port"],
  "timers, keys": ["timer", "key"],
  "shared memory, WebAssembly": ["shared memory", "view of shared memory", "web assembly"],
  "text decoders, abort signals, async local storage": ["text decoder", "signal", "async local storage"],
  "native functions": ["bound function of Intl"],
  "`eval`, `with`": ["eval", "with in a template's function"],
  "`import.meta`, `__dirname`": ["import.meta", "__dirname"],
  "imports by a computed name or of a relative file at run time": [
    "computed import",
    "relative import",
    "computed require",
  ],
  "`super` in object literals": ["super of an object"],
  "outer `arguments` and `new.target`": ["arguments of an outer function", "new.target of an outer function"],
  "fields with computed names": ["field with a computed name"],
  "arrows with a `#private` name": ["arrow with a private name"],
  "`#private` fields put on objects of other classes": ["private field on an object of another class"],
  "`superRefine` of zod": ["zod superRefine"],
  "variables that a package writes": ["closure that a package writes"],
  "strings of a template literal, as keys or beside the literal": [
    "cache by template",
    "strings of a literal that goes along",
  ],
};

const FILES = [
  "cases.mjs",
  "cases.cjs",
  "cases.ts",
  "strange.mjs",
  "users.mjs",
  "odder.mjs",
  "packages.mjs",
  "modules.mjs",
];

/** Cells of README's table, each with its items. */
async function table(): Promise<readonly (readonly string[])[]> {
  const readme = await readFile(new URL("../../../README.md", import.meta.url), "utf8");
  const [, rows = ""] =
    /\n\| captured \| refused, with the reason \|\n\|[-|]+\|\n((?:\|.*\n)+)/.exec(readme) ?? [];
  const cells = rows
    .trimEnd()
    .split("\n")
    .map((row) => row.split(/(?<!\\)\|/).slice(1, -1));
  return [0, 1].map((column) =>
    cells.flatMap((row) =>
      (row[column] ?? "")
        .split(" · ")
        .map((item) => item.trim())
        .filter((item) => item !== ""),
    ),
  );
}

/** Whether a file of cases has one of this name. */
async function hasCase(name: string): Promise<boolean> {
  const escaped = name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const written = new RegExp(`(?:^|[{,\\s])(?:"${escaped}"|${escaped}): `, "m");
  const texts = FILES.map(async (file) =>
    readFile(new URL(`../../fixtures/functions/${file}`, import.meta.url), "utf8"),
  );
  return (await Promise.all(texts)).some((text) => written.test(text));
}

describe("README's table of what can be captured", () => {
  it("says what the cases show, item by item", async () => {
    const [captured, refused] = await table();
    expect(captured).toEqual(Object.keys(CAPTURED));
    expect(refused).toEqual(Object.keys(REFUSED));
  });

  it.each(Object.entries({ ...CAPTURED, ...REFUSED }))("has cases for %s", async (_, cases) => {
    const known = await Promise.all(cases.map(hasCase));
    expect(cases.filter((name, index) => known[index] !== true)).toEqual([]);
  });
});
