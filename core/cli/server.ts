// Commands that talk to a server: their shared options, and the connection.
import { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import { tokenFromEnvironment, urlFromEnvironment } from "../environment.ts";
import { ServerUnreachableError, UnauthorizedError } from "../errors.ts";

const DEFAULT_URL = "http://127.0.0.1:1338";

/** What every such command takes. */
export interface ServerFlags {
  readonly url?: string;
  readonly token?: string;
  readonly json?: true;
}

/** What withServer takes beside the flags. */
interface ServerChoice extends ServerFlags {
  /** In place of the default, where neither a flag nor the environment names a server. */
  readonly fallbackUrl?: string | undefined;
}

/** A command with `--url`, `--token` and `--json`. */
export function serverCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--url <url>", `the server's management API (default: WINDJAMMER_URL, or ${DEFAULT_URL})`)
    .option(
      "--token <token>",
      "its token; better in WINDJAMMER_TOKEN, since others on this machine can read command lines",
    )
    .option("--json", "print JSON");
}

/** The management API that the flags or the environment name. */
export function serverUrl({ url, fallbackUrl }: Pick<ServerChoice, "url" | "fallbackUrl">): string {
  return url ?? urlFromEnvironment() ?? fallbackUrl ?? DEFAULT_URL;
}

/**
 * Connects, runs `use`, and closes the connection however that ends.
 * @throws ServerUnreachableError, UnauthorizedError, InvalidOptionsError, and what `use` throws
 */
export async function withServer<T>(flags: ServerChoice, use: (wj: Windjammer) => Promise<T>): Promise<T> {
  await using wj = await connectTo(flags);
  return await use(wj);
}

async function connectTo(flags: ServerChoice): Promise<Windjammer> {
  const url = serverUrl(flags);
  const token = flags.token ?? tokenFromEnvironment();
  // Late: the help of a command needs none of it.
  const { Client } = await import("../client/client.ts");
  try {
    return await Client.connect(url, token === undefined ? {} : { token });
  } catch (error) {
    throw inWordsOfTheCommandLine(error, url, token);
  }
}

/** The client speaks of its options; here they are flags and variables. */
function inWordsOfTheCommandLine(error: unknown, url: string, token: string | undefined): unknown {
  if (error instanceof UnauthorizedError) {
    const hint =
      token === undefined
        ? "set WINDJAMMER_TOKEN to it, or give --token"
        : `the one in ${sourceOf(token)} is not it`;
    return new UnauthorizedError(`${url} needs the token its server was started with; ${hint}`, {
      cause: error,
      details: error.details,
    });
  }
  if (error instanceof ServerUnreachableError) {
    return new ServerUnreachableError(
      `${error.message}; --url or WINDJAMMER_URL names another management API`,
      {
        cause: error,
        details: error.details,
      },
    );
  }
  return error;
}

function sourceOf(token: string): string {
  return token === tokenFromEnvironment() ? "WINDJAMMER_TOKEN" : "--token";
}
