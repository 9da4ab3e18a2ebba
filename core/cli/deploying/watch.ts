// `windjammer deploy --watch`: deploys, and again whenever the model's files change, until it is told to stop.
import { InvalidOptionsError, toWindjammerError } from "../../errors.ts";
import { type Output, paint } from "../output.ts";
import { FileWatch } from "./file-watch.ts";
import type { FoundModel } from "./model.ts";
import { watchedFolders } from "./watched-folders.ts";

interface WatchOptions {
  readonly output: Output;
  readonly signal: AbortSignal;
  /** Asks `isNew` before it does more than to look at the files, and leaves it at that when they say the same. */
  readonly deploy: (isNew: (content: string) => boolean) => Promise<void>;
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
  let last: string | undefined;
  let isFirst = true;
  // A file beside the model, such as the server's log, which every deployment writes to, deploys nothing.
  const isNew = (content: string): boolean => {
    if (content === last) return false;
    last = content;
    if (!isFirst) output.note("\nchanged; deploying again");
    return true;
  };
  output.note(`watching ${files.folders.join(", ")}; Ctrl-C ends it`);
  for (;;) {
    // Before the files are read: a change while they are is not missed.
    await files.open();
    const before = last;
    try {
      await deploy(isNew);
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message } = toWindjammerError(error);
      // No server knows of it: files that are as they were before, or a server that is back, are something new.
      if (last === before || code === "SERVER_UNREACHABLE") last = undefined;
      output.note(`${paint("red", code, process.stderr)}: ${message}`);
      output.item({ error: code, message }, () => "");
    }
    isFirst = false;
    await files.change(signal);
  }
}
