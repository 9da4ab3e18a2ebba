// What a deployer's author gives the conformance suite, and what he gets: a model in two contents, and checks by name.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonValue } from "../../containers/protocol.ts";
import type { Deployer } from "../deploy/deployer.ts";

/** A deployer with a model for it to bundle. */
export interface DeployerCase<Options extends object> {
  readonly deployer: Deployer<Options>;
  /** Writes a user's files into an empty folder, in one of two contents, and gives the options that name them. */
  write(folder: string, content: "first" | "second"): Promise<Options>;
  /** Changes to the options that must be refused, and what the message must hold. */
  readonly wrongOptions: readonly { readonly change: object; readonly message: string }[];
  /** Change that names a file that is not there, in this folder; a deployer that reads no files has none. */
  readonly missingFile?: (folder: string) => Partial<Options>;
}

/** A deployer with a model that answers, and that fails on one input. */
export interface ServedCase<Options extends object> extends DeployerCase<Options> {
  readonly inputs: readonly JsonValue[];
  /** What the first and the second content answer to `inputs`. */
  readonly outputs: Readonly<Record<"first" | "second", readonly JsonValue[]>>;
  /** An input that does not fit the contract, and what the message must hold. */
  readonly badInput: { readonly input: JsonValue; readonly message: string };
  /** Where the model's packages are installed, if not where Windjammer's are. */
  readonly packagesFrom?: readonly string[];
  /** An input that fits the contract and that the model throws on, and what the message must hold. */
  readonly failing: { readonly input: JsonValue; readonly message: string };
}

/** One thing that a deployer has to do. */
export interface Check {
  /** "bundles differ for other files". */
  readonly name: string;
  /** @throws AssertionError, or what the deployer threw */
  readonly run: () => Promise<void>;
}

/** Makes a new temporary folder. */
export type MakeFolder = (name?: string) => Promise<string>;

/** A check whose temporary folders go when it is over. */
export function check(name: string, run: (makeFolder: MakeFolder) => Promise<void>): Check {
  return {
    name,
    run: async () => {
      const folders: string[] = [];
      try {
        await run(async (prefix = "wj-check-") => {
          const folder = await mkdtemp(join(tmpdir(), prefix));
          folders.push(folder);
          return folder;
        });
      } finally {
        await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
      }
    },
  };
}

/** What was thrown. @throws Error when nothing was */
export async function thrownBy(attempt: Promise<unknown>, what: string): Promise<Error> {
  return attempt.then(
    () => {
      throw new Error(`${what} should have failed`);
    },
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
}
