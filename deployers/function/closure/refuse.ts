// What cannot leave this process, said with its path, the reason and the way out.
import { types } from "node:util";
import { InvalidOptionsError } from "../../../core/index.ts";

/** One thing that cannot be captured. */
export interface Problem {
  /** From the function to the value: "fn → model → session". */
  readonly path: string;
  readonly reason: string;
  readonly hint: string;
}

const SETUP =
  "make it in the option setup, which runs once in each replica and whose result is the second argument";
const STATIC = "import or require it at the top of the file, by its literal name";

export const HINTS: { readonly [K in "setup" | "static" | "plain"]: string } = {
  setup: SETUP,
  static: STATIC,
  plain: "capture plain values instead",
};

const MAX_SHOWN = 5;

/** The function holds something that cannot be captured; `details.problems` has them all. */
export function captureError(problems: readonly Problem[]): InvalidOptionsError {
  const lines = problems.slice(0, MAX_SHOWN).map(({ path, reason, hint }) => `${path} ${reason}; ${hint}`);
  const more = problems.length > MAX_SHOWN ? `\n  and ${problems.length - MAX_SHOWN} more` : "";
  return new InvalidOptionsError(
    `fn cannot be deployed: ${lines.length === 1 ? "" : "\n  "}${lines.join("\n  ")}${more}`,
    {
      details: {
        option: "fn",
        problems: problems.map(({ path, reason, hint }) => ({ path, reason, hint })),
      },
    },
  );
}

type Test = readonly [test: (value: object) => boolean, what: string, hint: string];

const isA =
  (name: string) =>
  (value: object): boolean =>
    Object.prototype.toString.call(value) === `[object ${name}]` && isNativeInstance(value, name);

/** A value whose prototype chain holds the global class of this name: what is behind it stays hidden. */
function isNativeInstance(value: object, name: string): boolean {
  const constructor: unknown = name
    .split(".")
    .reduce<unknown>((at, key) => Reflect.get(Object(at), key), globalThis);
  return typeof constructor === "function" && value instanceof constructor;
}

const INSTANCES = ["FinalizationRegistry", "WeakRef", "SharedArrayBuffer"] as const;

const TESTS: readonly Test[] = [
  [types.isProxy, "is a Proxy, whose handler stays hidden", HINTS.plain],
  [types.isPromise, "is a Promise of this process", "await it before, and capture its value"],
  [types.isGeneratorObject, "is a generator that is running", "capture the generator function, or a list"],
  [types.isMapIterator, "is an iterator at some place of a Map", "capture the Map"],
  [types.isSetIterator, "is an iterator at some place of a Set", "capture the Set"],
  [isA("Array Iterator"), "is an iterator at some place of a list", "capture the list"],
  [isA("String Iterator"), "is an iterator at some place of a string", "capture the string"],
  [types.isExternal, "is a handle of native code", SETUP],
  [types.isKeyObject, "is a key of node:crypto", SETUP],
  [types.isCryptoKey, "is a key of Web Crypto", SETUP],
  [types.isArgumentsObject, "is an arguments object", "capture a list: [...arguments]"],
  ...INSTANCES.map((name): Test => [
    (value) => isNativeInstance(value, name),
    `is a ${name}, which belongs to this process`,
    HINTS.plain,
  ]),
];

/** Why an object cannot be captured, going by what it is; undefined: nothing against it. */
export function refusal(value: object): Omit<Problem, "path"> | undefined {
  const found = TESTS.find(([test]) => test(value));
  return found === undefined ? undefined : { reason: found[1], hint: found[2] };
}

/** "Socket" of an instance, without calling a getter of the user's. */
export function className(value: object): string {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const constructor = Object.getOwnPropertyDescriptor(at, "constructor")?.value as unknown;
    if (typeof constructor !== "function") continue;
    const name: unknown = Object.getOwnPropertyDescriptor(constructor, "name")?.value;
    if (typeof name === "string" && name !== "") return name;
  }
  return "Object";
}
