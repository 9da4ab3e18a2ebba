// Objects with hidden state that their constructor makes again from what they tell: Intl's, and the schemas of zod 4.
import { isDeepStrictEqual } from "node:util";
import type { Ref, StateNode } from "../../../containers/closure-format.ts";
import { HINTS } from "./refuse.ts";
import { shapeOf } from "./values.ts";
import type { Walk } from "./walk.ts";

/** @returns undefined for any other object, null when it was refused */
export function encodeMade(value: object, path: string, walk: Walk): StateNode | undefined | null {
  return encodeIntl(value, path, walk) ?? encodeZod(value, path, walk);
}

type IntlClass = new (locale?: string, options?: object) => object;

interface IntlKind {
  readonly name: string;
  /** What an object of the kind gives for some inputs; equal answers and options mean an equal object. */
  readonly sample: (value: never) => unknown;
}

const DATES = [0, 1_234_567_890_123, -86_400_001].map((time) => new Date(time));
const NUMBERS = [0, -1234.567, 1e21, 0.000012, 0.5, Number.NaN];
const WORDS = ["a", "B", "ä", "z", "2", "10", "", "A"];

const INTL: readonly IntlKind[] = [
  {
    name: "Collator",
    sample: (collator: Intl.Collator) => WORDS.map((a) => WORDS.map((b) => collator.compare(a, b))),
  },
  {
    name: "DateTimeFormat",
    sample: (format: Intl.DateTimeFormat) => DATES.map((date) => format.formatToParts(date)),
  },
  {
    name: "NumberFormat",
    sample: (format: Intl.NumberFormat) => NUMBERS.map((number) => format.formatToParts(number)),
  },
  { name: "PluralRules", sample: (rules: Intl.PluralRules) => NUMBERS.map((number) => rules.select(number)) },
  { name: "ListFormat", sample: (format: Intl.ListFormat) => format.format(WORDS) },
  {
    name: "RelativeTimeFormat",
    sample: (format: Intl.RelativeTimeFormat) => [format.format(-1, "day"), format.format(5, "year")],
  },
  { name: "Segmenter", sample: () => undefined },
  { name: "DisplayNames", sample: () => undefined },
];

function encodeIntl(value: object, path: string, walk: Walk): StateNode | undefined | null {
  const proto = Object.getPrototypeOf(value) as object | null;
  const kind = INTL.find(({ name }) => intlClass(name).prototype === proto);
  if (kind === undefined) return undefined;
  const constructor = intlClass(kind.name);
  const { locale, ...options } = Reflect.apply(
    Reflect.get(constructor.prototype as object, "resolvedOptions") as () => Record<string, unknown>,
    value,
    [],
  );
  const given = neededOptions(options);
  if (!isSame(value, new constructor(String(locale), given), kind)) {
    walk.refuse(
      path,
      `is an Intl.${kind.name} that cannot be made again from its resolvedOptions()`,
      HINTS.setup,
    );
    return null;
  }
  const parameters = [String(locale), walk.ref(given, `${path} (options)`)];
  const shape = shapeOf(value, { keys: Reflect.ownKeys(value), path }, walk);
  return { kind: "made", of: walk.ref(constructor, path), parameters, ...shape };
}

function intlClass(name: string): IntlClass {
  return Reflect.get(Intl, name) as IntlClass;
}

const STYLES: ReadonlySet<string> = new Set(
  "calendar numberingSystem timeZone hourCycle dateStyle timeStyle".split(" "),
);

/** A date's style excludes its parts, and `hour12` says less than `hourCycle` does. */
function neededOptions(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const hasStyle = options["dateStyle"] !== undefined || options["timeStyle"] !== undefined;
  const isNeeded = (name: string): boolean => (hasStyle ? STYLES.has(name) : name !== "hour12");
  return Object.fromEntries(Object.entries(options).filter(([name]) => isNeeded(name)));
}

function isSame(value: object, again: object, { sample }: IntlKind): boolean {
  const [one, other] = [value, again].map((each) => [
    (each as Intl.NumberFormat).resolvedOptions(),
    sample(each as never),
  ]);
  return isDeepStrictEqual(one, other);
}

interface ZodParts {
  readonly def: object;
  readonly constr: new (def: object) => object;
}

/** A schema is made by its class from its definition; the functions of refinements in there are captured as any are. */
function encodeZod(value: object, path: string, walk: Walk): StateNode | undefined | null {
  const parts = zodParts(value);
  if (parts === undefined || walk.references.find(parts.constr)?.kind !== "package") return undefined;
  const { def, constr } = parts;
  const changed = changedPart(value, new constr(def), walk);
  if (changed !== undefined) {
    walk.refuse(
      path,
      `is a schema of zod whose ${changed} was put in after it was made (as superRefine and check do)`,
      "use refine, or make the schema inside the function",
    );
    return null;
  }
  const parameters: Ref[] = [walk.ref(def, `${path}._zod.def`)];
  const isFixed = Object.isExtensible(value) ? {} : ({ isFixed: true } as const);
  const node = { kind: "made", of: walk.ref(constr, `${path}.constructor`), parameters, ...isFixed } as const;
  const registry = zodRegistry();
  const known: unknown = registry?.get(value);
  if (registry === undefined || known === undefined) return node;
  return {
    ...node,
    noted: [walk.ref(registry, `${path} (registry)`), walk.ref(known, `${path} (description)`)],
  };
}

function zodParts(value: object): ZodParts | undefined {
  const inner: unknown = Object.getOwnPropertyDescriptor(value, "_zod")?.value;
  if (typeof inner !== "object" || inner === null) return undefined;
  const { def, constr } = inner as Partial<ZodParts>;
  return typeof def === "object" && typeof constr === "function" ? { def, constr } : undefined;
}

interface ZodRegistry {
  get(schema: object): unknown;
}

function zodRegistry(): ZodRegistry | undefined {
  return Reflect.get(globalThis, "__zod_globalRegistry") as ZodRegistry | undefined;
}

/**
 * A member that a new schema of the same definition would not have. Zod puts methods and caches on a schema as it is
 * used; what changes its meaning is a check that was put in, and whatever stands outside of zod.
 */
function changedPart(value: object, again: object, walk: Walk): string | undefined {
  const own = Reflect.ownKeys(value).find((key) => {
    const member: unknown = Object.getOwnPropertyDescriptor(value, key)?.value;
    return typeof member === "function" ? !isOfPackage(member, walk) : !(key in again);
  });
  if (own !== undefined) return String(own);
  const [inner, other] = [innerOf(value), innerOf(again)];
  const changed = Reflect.ownKeys(inner).find((key) => {
    const member: unknown = Object.getOwnPropertyDescriptor(inner, key)?.value;
    if (typeof member !== "function") return false;
    const same: unknown = Object.getOwnPropertyDescriptor(other, key)?.value;
    return key === "check" ? !isSameText(member, same, walk) : !isOfPackage(member, walk);
  });
  return changed === undefined ? undefined : `_zod.${String(changed)}`;
}

function isSameText(one: object, other: unknown, walk: Walk): boolean {
  if (typeof other !== "function") return false;
  const [a, b] = [one, other].map((each) => walk.inspection.describeFunction(each));
  return a?.script === b?.script && a?.offset === b?.offset;
}

function isOfPackage(value: unknown, walk: Walk): boolean {
  if (typeof value !== "function") return false;
  const { script, bound } = walk.inspection.describeFunction(value);
  return bound === undefined ? script?.packageName !== undefined : isOfPackage(bound.target, walk);
}

function innerOf(schema: object): object {
  return Object.getOwnPropertyDescriptor(schema, "_zod")?.value as object;
}
