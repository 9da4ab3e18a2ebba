// The version of this package.
import { createRequire } from "node:module";

/** As its package.json says. */
export function packageVersion(): string {
  const { version } = createRequire(import.meta.url)("windjammer/package.json") as {
    readonly version: string;
  };
  return version;
}
