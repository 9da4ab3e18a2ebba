// What V8 knows of live values and JavaScript does not show: where a function stands, its scopes, private fields.
import { Session } from "node:inspector";
import { Script } from "./script.ts";

/** Variables of one scope around a function, with their values now; innermost first in a list. */
type ScopeValues = Readonly<Record<string, unknown>>;

export interface FunctionFacts {
  /** Undefined: native code. */
  readonly script: Script | undefined;
  readonly offset: number;
  readonly scopes: readonly ScopeValues[];
  /** Names of a scope, by its index, that have no value yet: their declarations have not run. */
  readonly unset: (scope: number) => ReadonlySet<string>;
  readonly bound: BoundFacts | undefined;
}

interface BoundFacts {
  readonly target: unknown;
  readonly self: unknown;
  readonly parameters: readonly unknown[];
}

export interface PrivateField {
  readonly name: string;
  readonly value: unknown;
}

export interface WeakEntry {
  readonly key?: object | symbol;
  readonly value: unknown;
}

interface RemoteObject {
  readonly type: string;
  readonly objectId?: string;
  readonly value?: unknown;
  readonly description?: string;
  readonly unserializableValue?: string;
}

interface RemoteProperty {
  readonly name: string;
  readonly value?: RemoteObject;
  readonly symbol?: RemoteObject;
}

interface RemoteProperties {
  readonly result: readonly RemoteProperty[];
  readonly internalProperties?: readonly RemoteProperty[];
  readonly privateProperties?: readonly RemoteProperty[];
}

interface ScriptParsed {
  readonly scriptId: string;
  readonly url: string;
  readonly isModule?: boolean | undefined;
  readonly sourceMapURL?: string | undefined;
  readonly startLine: number;
  readonly startColumn: number;
}

const HOLDER = "windjammer closure holder";

/**
 * A debugger session of this thread with itself. It answers at once, pauses nothing, and is closed after one
 * serialization.
 */
export class Inspection {
  readonly #session = new Session();
  readonly #holder: { value: unknown } = { value: undefined };
  readonly #holderId: string;
  readonly #parsed = new Map<string, ScriptParsed>();
  readonly #scripts = new Map<string, Script>();
  readonly #functions = new Map<object, FunctionFacts>();

  /** @throws Error where Node runs without its inspector */
  constructor() {
    this.#session.connect();
    this.#session.on("Debugger.scriptParsed", ({ params }) => {
      this.#parsed.set(params.scriptId, params);
    });
    this.#post("Debugger.enable", {});
    Reflect.set(globalThis, HOLDER, this.#holder);
    const holder = this.#post("Runtime.evaluate", { expression: `globalThis[${JSON.stringify(HOLDER)}]` });
    Reflect.deleteProperty(globalThis, HOLDER);
    this.#holderId = (holder as { result: RemoteObject }).result.objectId ?? "";
  }

  close(): void {
    this.#session.disconnect();
  }

  /** Files and modules that are loaded, by URL. */
  scripts(): readonly Script[] {
    return [...this.#parsed.values()]
      .filter(({ url }) => url !== "" && !url.startsWith("node:") && !url.startsWith("evalmachine"))
      .map(({ scriptId }) => this.#script(scriptId))
      .filter((script) => script !== undefined);
  }

  describeFunction(fn: object): FunctionFacts {
    const known = this.#functions.get(fn);
    if (known !== undefined) return known;
    const facts = this.#describe(fn);
    this.#functions.set(fn, facts);
    return facts;
  }

  /** Private fields of an object or a class, in order of their definition; methods are not among them. */
  privateFields(value: object): readonly PrivateField[] {
    const { privateProperties = [] } = this.#properties(this.#remote(value).objectId ?? "");
    return privateProperties
      .filter((property) => property.value !== undefined)
      .map((property) => ({ name: property.name, value: this.#live(property.value) }));
  }

  /** Own keys but the indexes, which long lists have by the million. */
  nonIndexKeys(value: object): readonly (string | symbol)[] {
    const objectId = this.#remote(value).objectId ?? "";
    const parameters = { objectId, ownProperties: true, nonIndexedPropertiesOnly: true };
    const { result } = this.#post("Runtime.getProperties", parameters) as RemoteProperties;
    return result
      .filter(({ name }) => name !== "__proto__" || Object.hasOwn(value, "__proto__"))
      .map(({ name, symbol }) => (symbol === undefined ? name : (this.#live(symbol) as symbol)));
  }

  /** Keys and values of a WeakMap; a WeakSet has values only. */
  weakEntries(value: object): readonly WeakEntry[] {
    const { internalProperties = [] } = this.#properties(this.#remote(value).objectId ?? "");
    const entries = internalProperties.find(({ name }) => name === "[[Entries]]");
    return entries === undefined ? [] : Array.from(this.#live(entries.value) as ArrayLike<WeakEntry>);
  }

  /** Id of an object in heap snapshots; it has one when a snapshot was taken. */
  heapId(value: object): number {
    const { objectId } = this.#remote(value);
    const reply = this.#post("HeapProfiler.getHeapObjectId", { objectId });
    return Number((reply as { readonly heapSnapshotObjectId: string }).heapSnapshotObjectId);
  }

  /** Undefined: what the heap has there is no object. */
  objectOfHeap(id: number): object | undefined {
    try {
      const reply = this.#post("HeapProfiler.getObjectByHeapObjectId", { objectId: String(id) });
      const live = this.#live((reply as { readonly result: RemoteObject }).result);
      return typeof live === "object" || typeof live === "function" ? (live ?? undefined) : undefined;
    } catch {
      return undefined;
    }
  }

  /** What a Proxy stands for. */
  proxyTarget(value: object): unknown {
    const { internalProperties = [] } = this.#properties(this.#remote(value).objectId ?? "");
    return this.#live(internalProperties.find(({ name }) => name === "[[Target]]")?.value);
  }

  #describe(fn: object): FunctionFacts {
    const { internalProperties = [] } = this.#properties(this.#remote(fn).objectId ?? "");
    const internal = new Map(internalProperties.map(({ name, value }) => [name, value]));
    const location = internal.get("[[FunctionLocation]]")?.value as
      | { readonly scriptId: string; readonly lineNumber: number; readonly columnNumber: number }
      | undefined;
    const script = location === undefined ? undefined : this.#script(location.scriptId);
    const target = internal.get("[[TargetFunction]]");
    const scopes = this.#scopes(internal.get("[[Scopes]]"));
    return {
      script,
      offset:
        script === undefined || location === undefined
          ? -1
          : script.offsetOf(location.lineNumber, location.columnNumber),
      scopes: scopes.map(({ value }) => (this.#live(value) as { readonly object: ScopeValues }).object),
      unset: (index) => this.#unset(scopes[index]?.value?.objectId),
      bound:
        target === undefined
          ? undefined
          : {
              target: this.#live(target),
              self: this.#live(internal.get("[[BoundThis]]")),
              parameters: this.#live(internal.get("[[BoundArgs]]")) as readonly unknown[],
            },
    };
  }

  #scopes(list: RemoteObject | undefined): readonly RemoteProperty[] {
    if (list?.objectId === undefined) return [];
    const { result } = this.#properties(list.objectId);
    return result.filter(({ value }) => value?.objectId !== undefined && value.description !== "Global");
  }

  #unset(objectId: string | undefined): ReadonlySet<string> {
    if (objectId === undefined) return new Set();
    const { result } = this.#properties(objectId);
    return new Set(result.filter(({ value }) => value === undefined).map(({ name }) => name));
  }

  #script(scriptId: string): Script | undefined {
    const known = this.#scripts.get(scriptId);
    const parsed = this.#parsed.get(scriptId);
    if (known !== undefined || parsed === undefined) return known;
    const read = (): string =>
      (this.#post("Debugger.getScriptSource", { scriptId }) as { scriptSource: string }).scriptSource;
    const script = new Script(parsed.url, read, {
      id: scriptId,
      isModule: parsed.isModule === true,
      sourceMapUrl: parsed.sourceMapURL ?? "",
      start: { line: parsed.startLine, column: parsed.startColumn },
    });
    this.#scripts.set(scriptId, script);
    return script;
  }

  #properties(objectId: string): RemoteProperties {
    return this.#post("Runtime.getProperties", { objectId, ownProperties: true }) as RemoteProperties;
  }

  #remote(value: unknown): RemoteObject {
    this.#holder.value = value;
    const functionDeclaration = "function () { return this.value; }";
    const reply = this.#post("Runtime.callFunctionOn", { objectId: this.#holderId, functionDeclaration });
    return (reply as { result: RemoteObject }).result;
  }

  #live(remote: RemoteObject | undefined): unknown {
    if (remote === undefined) return undefined;
    if (remote.objectId === undefined) return livePrimitive(remote);
    // Strict: `this` of a symbol must stay a symbol.
    const functionDeclaration = "function (holder) { 'use strict'; holder.value = this; }";
    const parameters = { objectId: remote.objectId, functionDeclaration };
    this.#post("Runtime.callFunctionOn", { ...parameters, arguments: [{ objectId: this.#holderId }] });
    const { value } = this.#holder;
    this.#holder.value = undefined;
    return value;
  }

  #post(method: string, parameters: object): unknown {
    let outcome: { error: Error | null; result: unknown } | undefined;
    this.#session.post(method, parameters, (error: Error | null, result?: unknown) => {
      outcome = { error, result };
    });
    if (outcome === undefined) throw new Error(`the inspector did not answer ${method} at once`);
    if (outcome.error !== null) throw outcome.error;
    return outcome.result;
  }
}

function livePrimitive({ type, value, unserializableValue }: RemoteObject): unknown {
  if (unserializableValue === undefined) return value;
  return type === "bigint" ? BigInt(unserializableValue.slice(0, -1)) : Number(unserializableValue);
}
