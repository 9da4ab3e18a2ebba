// What `deploy --watch` takes for a change of the model.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { FoundModel } from "../../../../core/cli/deploying/model.ts";
import { watch } from "../../../../core/cli/deploying/watch.ts";
import { Output } from "../../../../core/cli/output.ts";
import { ServerUnreachableError } from "../../../../core/errors.ts";
import { tempFolder } from "../../../helpers/temp.ts";

/** Edits a model's folder, and says whether each edit was something new to deploy. */
async function watchedModel(fail: (content: string) => void = () => {}): Promise<{
  readonly edit: (file: string, text: string) => Promise<void>;
  readonly answers: boolean[];
}> {
  const folder = await tempFolder();
  const model = join(folder, "predict.py");
  await writeFile(model, "one");
  const answers: boolean[] = [];
  const stop = new AbortController();
  const recognized = {
    kind: "python",
    what: "a Python model",
    options: {},
    name: "m",
    watched: folder,
  } as const;
  const watching = watch({ recognized } as unknown as FoundModel, {
    output: new Output({ json: true }),
    signal: stop.signal,
    deploy: async (isNew) => {
      const content = await readFile(model, "utf8");
      answers.push(isNew(content));
      fail(content);
    },
  });
  onTestFinished(async () => {
    stop.abort();
    await watching.catch(() => {});
  });
  await expect.poll(() => answers.length).toBe(1);
  const edit = async (file: string, text: string): Promise<void> => {
    const known = answers.length;
    await writeFile(join(folder, file), text);
    await expect.poll(() => answers.length).toBeGreaterThan(known);
  };
  return { edit, answers };
}

test("a file beside the model, such as a server's log, deploys nothing", async () => {
  const { edit, answers } = await watchedModel();
  await edit("server.err", "deployed");
  expect(new Set(answers.slice(1))).toEqual(new Set([false]));
  const before = answers.length;
  await edit("predict.py", "two");
  await expect.poll(() => answers.slice(before)).toContain(true);
});

test("what no server has answered is deployed again", async () => {
  const { edit, answers } = await watchedModel(() => {
    throw new ServerUnreachableError("gone");
  });
  await edit("predict.py", "one");
  expect(answers).not.toContain(false);
});
