// What a user says of a function: the options of each kind, with types that fit together.
import type { z } from "zod";
import type { InputTypeName, ValueOf } from "../input-types.ts";
import type { PackageOptions } from "../packages.ts";

/** What a function in a module needs. It gets the list of inputs of a batch and returns as many outputs, in order. */
export interface ModuleFunctionOptions<T extends InputTypeName = InputTypeName> extends PackageOptions {
  /**
   * What one query holds: "integers", "floats", "doubles" (a list of numbers), "bytes", "strings", or "json" (any
   * value). Clipper's short forms mean the same: "ints", "d", "string", …
   */
  readonly inputType: T;
  /**
   * The module, JavaScript or TypeScript: a path, relative to the current folder, or a file URL. Files it imports are
   * bundled in; packages are installed where it runs, in the versions that are installed here.
   */
  readonly module: string | URL;
  /** Its export that is the function. Default "predict". */
  readonly export?: string | undefined;
}

/** What a call of a live function gets beside its inputs and what `setup` gave. */
export interface CallContext {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What a live function can have whatever it takes. */
export interface LiveOptions<Resources = undefined> extends PackageOptions {
  /**
   * Runs once in each replica, before the first call; what it gives is the second argument of `fn`. For what cannot be
   * captured: sessions, connections, files.
   */
  readonly setup?: (() => Resources | Promise<Resources>) | undefined;
}

/** `fn` gets the list of inputs of a batch and returns as many outputs, in order. */
type ListFunction<Value, Output, Resources> = (
  inputs: Value[],
  resources: Resources,
  context: CallContext,
) => readonly Output[] | Promise<readonly Output[]>;

/** With `single: true`, `fn` gets one input and returns its output. */
type SingleFunction<Value, Output, Resources> = (
  input: Value,
  resources: Resources,
  context: CallContext,
) => Output | Promise<Output>;

type Fn<Value, Output, Resources> =
  | { readonly fn: ListFunction<Value, Output, Resources>; readonly single?: false | undefined }
  | { readonly fn: SingleFunction<Value, Output, Resources>; readonly single: true };

/** A live function by the name of its input type. */
export type TypedFunctionOptions<
  T extends InputTypeName,
  Output,
  Resources = undefined,
> = LiveOptions<Resources> & Fn<ValueOf<T>, Output, Resources> & { readonly inputType: T };

/** A live function whose inputs the endpoint holds to a zod schema. */
export type SchemaFunctionOptions<Input, Output, Resources = undefined> = LiveOptions<Resources> &
  Fn<Input, Output, Resources> & {
    readonly input: z.ZodType<Input, Input>;
    /** Gives the type of outputs, and their schema in the description of the endpoint. */
    readonly output?: z.ZodType<Output, Output> | undefined;
  };

/** All that the deployer takes; `deployFunction` has the types that fit together. */
export interface FunctionOptions extends PackageOptions {
  readonly inputType?: InputTypeName | undefined;
  readonly module?: string | URL | undefined;
  readonly export?: string | undefined;
  readonly fn?: object | undefined;
  readonly single?: boolean | undefined;
  readonly setup?: object | undefined;
  readonly input?: z.ZodType | undefined;
  readonly output?: z.ZodType | undefined;
}
