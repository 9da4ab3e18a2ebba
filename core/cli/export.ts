// `windjammer export`: OpenAPI documents, a typed client, a compose file, made from what a server has.
import { Argument, type Command } from "commander";
import { serverCommand, type ServerFlags } from "./server.ts";

const EXPORTS = ["openapi", "client", "compose"] as const;
export type ExportName = (typeof EXPORTS)[number];

export interface ExportFlags extends ServerFlags {
  readonly output?: string;
  readonly admin?: true;
  readonly stateDir?: string;
  readonly image?: string;
  readonly baseImage?: string;
}

export function exportCommand(): Command {
  return serverCommand(
    "export",
    "OpenAPI documents, a typed TypeScript client, or a compose file of what a server has",
  )
    .addArgument(new Argument("<what>", "what to make").choices(EXPORTS))
    .argument("[application]", "openapi, client: of this application only")
    .option("-o, --output <file>", "write it there (default: standard output)")
    .option("--admin", "openapi: of the management API")
    .option("--state-dir <folder>", "compose: the server's state folder (default: that of windjammer start)")
    .option(
      "--image <image>",
      "compose: an image that has windjammer (default: node:24-bookworm-slim, which fetches it)",
    )
    .option("--base-image <image>", "compose, of a server with the docker runtime: as it was started with")
    .action(async (what: ExportName, application: string | undefined, flags: ExportFlags) => {
      // Late: the help of a command needs none of it.
      const { exportTo } = await import("./exporting/export.ts");
      await exportTo(what, application, flags);
    });
}
