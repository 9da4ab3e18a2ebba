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

interface ListFn<Value, Output, Resources> {
  readonly fn: ListFunction<Value, Output, Resources>;
  readonly single?: false | undefined;
}

interface SingleFn<Value, Output, Resources> {
  readonly fn: SingleFunction<Value, Output, Resources>;
  readonly single: true;
}

interface Typed<T> {
  readonly inputType: T;
}

interface Schemas<Input, Output> {
  readonly input: z.ZodType<Input, Input>;
  /** Each output is held to it, and it gives the type of outputs and their schema in the description of the endpoint. */
  readonly output?: z.ZodType<Output, Output> | undefined;
}

/** A live function of one input, by the name of its input type. */
export type TypedSingleOptions<
  T extends InputTypeName,
  Output,
  Resources = undefined,
> = LiveOptions<Resources> & SingleFn<ValueOf<T>, Output, Resources> & Typed<T>;

/** A live function of a list, by the name of its input type. */
export type TypedListOptions<
  T extends InputTypeName,
  Output,
  Resources = undefined,
> = LiveOptions<Resources> & ListFn<ValueOf<T>, Output, Resources> & Typed<T>;

/** A live function of one input, which the endpoint holds to a zod schema. */
export type SchemaSingleOptions<Input, Output, Resources = undefined> = LiveOptions<Resources> &
  SingleFn<Input, Output, Resources> &
  Schemas<Input, Output>;

/** A live function of a list, whose inputs the endpoint holds to a zod schema. */
export type SchemaListOptions<Input, Output, Resources = undefined> = LiveOptions<Resources> &
  ListFn<Input, Output, Resources> &
  Schemas<Input, Output>;

/** A live function by the name of its input type. */
export type TypedFunctionOptions<T extends InputTypeName, Output, Resources = undefined> =
  | TypedSingleOptions<T, Output, Resources>
  | TypedListOptions<T, Output, Resources>;

/** A live function whose inputs the endpoint holds to a zod schema. */
export type SchemaFunctionOptions<Input, Output, Resources = undefined> =
  | SchemaSingleOptions<Input, Output, Resources>
  | SchemaListOptions<Input, Output, Resources>;

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
