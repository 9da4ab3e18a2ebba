// An application's default output as JSON text.
import { isDeepStrictEqual } from "node:util";
import type { Application } from "../types.ts";

/** The text its owner wrote, as long as that says the value that counts now; undefined: there is none. */
export function keptDefaultText({ defaultOutput, defaultOutputText }: Application): string | undefined {
  if (defaultOutputText === undefined) return undefined;
  return isDeepStrictEqual(JSON.parse(defaultOutputText), defaultOutput) ? defaultOutputText : undefined;
}
