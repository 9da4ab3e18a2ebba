// A server for the commands of one test file.
import { afterAll, beforeAll } from "vitest";
import { windjammer, type Windjammer } from "windjammer";

/** Its `env` makes commands find it: `cli(["apps"], server)`. */
export interface CommandServer {
  readonly wj: Windjammer;
  readonly env: Readonly<Record<string, string>>;
}

/** Starts one before the file's tests, with what `deploy` puts on it, and closes it after them. */
export function commandServer(deploy: (wj: Windjammer) => Promise<unknown>): CommandServer {
  let started: Windjammer | undefined;
  const running = (): Windjammer => {
    if (started === undefined) throw new Error("the server is there once the tests run");
    return started;
  };
  beforeAll(async () => {
    started = await windjammer({ port: 0, adminPort: 0 });
    await deploy(started);
  });
  afterAll(() => started?.close());
  return {
    get wj() {
      return running();
    },
    get env() {
      return { WINDJAMMER_URL: running().adminUrl };
    },
  };
}
