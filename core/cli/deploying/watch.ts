// `windjammer deploy --watch`: deploys, and again whenever the model's files change, until it is told to stop.
import { InvalidOptionsError, toWindjammerError } from "../../errors.ts";
import { type Output, paint } from "../output.ts";
import { FileWatch } from "./file-watch.ts";
import type { FoundModel } from "./model.ts";
import { watchedFolders } from "./watched-folders.ts";

interface WatchOptions {
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly deploy: () => Promise<void>;
}

/** What fails is told, and the next change is waited for. @throws InvalidOptionsError for what is not on this disk */
export async function watch(model: FoundModel, { output, signal, deploy }: WatchOptions): Promise<void> {
  const { watched, what, kind } = model.recognized;
  if (watched === undefined) {
    throw new InvalidOptionsError(
      `--watch: ${what} (${kind}) has no files here that could change; leave it out`,
      {
        details: { option: "watch" },
      },
    );
  }
  using files = new FileWatch(await watchedFolders(watched, kind));
  for (;;) {
    // Before the files are read: a change while they are is not missed.
    await files.open();
    try {
      await deploy();
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message } = toWindjammerError(error);
      output.note(`${paint("red", code, process.stderr)}: ${message}`);
      output.item({ error: code, message }, () => "");
    }
    output.note(`watching ${files.folders.join(", ")}; Ctrl-C ends it`);
    await files.change(signal);
    output.note("\nchanged; deploying again");
  }
}
