// What is refused of a model before anything is bundled, or a server is asked.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findModel, type ModelRequest } from "../../../../core/cli/deploying/model.ts";
import { InvalidOptionsError } from "../../../../core/errors.ts";
import { tempFolder } from "../../../helpers/temp.ts";

const COMMAND = ["python3", "server.py"];

test.each<[what: string, request: Pick<ModelRequest, "as" | "options">, message: string]>([
  ["a command that is not named", { as: "command", options: {} }, "--command"],
  ["a command beside a Dockerfile", { as: "dockerfile", options: { command: COMMAND } }, "--as dockerfile"],
  ["a command beside a module", { as: "function", options: { command: COMMAND } }, "--as function"],
])("%s is refused", async (...[, request, message]) => {
  const target = await tempFolder();
  await writeFile(join(target, "Dockerfile"), "FROM scratch\n");
  const found = findModel({ target, ...request });
  await expect(found).rejects.toThrow(InvalidOptionsError);
  await expect(found).rejects.toThrow(message);
});

test("a command makes any folder one that a program serves", async () => {
  const target = await tempFolder();
  await writeFile(join(target, "Dockerfile"), "FROM scratch\n");
  for (const as of ["command", undefined] as const) {
    const { recognized } = await findModel({ target, as, options: { command: COMMAND } });
    expect(recognized.kind).toBe("command");
  }
});
