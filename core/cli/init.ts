// `windjammer init`: writes a folder to start from.
import { cp, mkdir, readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { Argument, Command, Option } from "commander";
import { InvalidOptionsError } from "../errors.ts";
import { Output } from "./output.ts";

/** Parts of each template, below containers/templates/: folders, or single files. */
const TEMPLATES = {
  node: ["node"],
  python: ["python"],
  express: ["node/model.mjs", "node/tensors.mjs", "express"],
} as const;

export type TemplateName = keyof typeof TEMPLATES;

/** How a template is started. */
const COMMANDS: Readonly<Record<TemplateName, readonly string[]>> = {
  node: ["node", "server.mjs"],
  python: ["python3", "server.py"],
  express: ["node", "server.mjs"],
};

interface InitFlags {
  readonly template: TemplateName;
  readonly json?: true;
}

export function initCommand(): Command {
  const templates = Object.keys(TEMPLATES);
  return new Command("init")
    .description("write a folder to start from: a model container of your own")
    .addArgument(new Argument("<what>", "what to start").choices(["container"]))
    .argument("[folder]", "a folder that is empty or not there yet", "model")
    .addOption(new Option("--template <name>", "language of the server").choices(templates).default("node"))
    .option("--json", "print JSON")
    .action(async (_: string, folder: string, { template, json }: InitFlags) => {
      const files = await writeTemplate(template, folder);
      const command = COMMANDS[template];
      const lines = [
        `wrote ${files.join(", ")} into ${folder}`,
        "",
        `  put your model into ${files.find((file) => file.startsWith("model.")) ?? "the server"}`,
        ...(template === "express" ? [`  (cd ${folder} && npm install)`] : []),
        `  (cd ${folder} && npx windjammer check-container "${command.join(" ")}")`,
        `  npx windjammer deploy ${folder} --command "${command.join(" ")}"`,
      ];
      new Output({ json }).result({ folder: resolve(folder), files, command }, () => lines.join("\n"));
    });
}

/**
 * Writes a model server to start from, and gives the names of its files.
 * @throws InvalidOptionsError when the folder holds something already, or cannot be made
 */
export async function writeTemplate(template: TemplateName, folder: string): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidOptionsError(`${resolve(folder)} cannot become a folder: ${reason}; name another`, {
      cause: error,
      details: { option: "folder" },
    });
  });
  if ((await readdir(folder)).length > 0) {
    throw new InvalidOptionsError(`folder ${resolve(folder)} is not empty; name one that is, or a new one`, {
      details: { option: "folder" },
    });
  }
  const from = join(dirname(createRequire(import.meta.url).resolve("windjammer/package.json")), "containers");
  for (const part of TEMPLATES[template]) {
    const isFile = part.includes("/");
    const target = isFile ? join(folder, part.slice(part.indexOf("/") + 1)) : folder;
    await cp(join(from, "templates", part), target, { recursive: true });
  }
  return (await readdir(folder)).toSorted();
}
