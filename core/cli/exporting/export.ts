// One run of `windjammer export`: asks the server, makes the text, writes it.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { JsonValue } from "../../../containers/protocol.ts";
import { Connection } from "../../client/connection.ts";
import type { Windjammer } from "../../client/interface.ts";
import { tokenFromEnvironment } from "../../environment.ts";
import { ApplicationNotFoundError, InvalidOptionsError } from "../../errors.ts";
import { didYouMean } from "../../nearest.ts";
import type { ExportFlags, ExportName } from "../export.ts";
import { Output } from "../output.ts";
import { withServer } from "../server.ts";
import { clientSource, type DescribedApplication } from "./client-source.ts";
import { composeFile } from "./compose.ts";

interface Context {
  readonly wj: Windjammer;
  readonly application: string | undefined;
  readonly flags: ExportFlags;
}

const MAKERS: Readonly<Record<ExportName, (context: Context) => Promise<string>>> = {
  openapi: openApi,
  client: typedClient,
  compose: ({ wj, flags }) => composeFile(wj, flags),
};

/** @throws InvalidOptionsError, ApplicationNotFoundError, UnsupportedModelError (a compose file that cannot work) */
export async function exportTo(
  what: ExportName,
  application: string | undefined,
  flags: ExportFlags,
): Promise<void> {
  checkTogether(what, application, flags);
  const output = new Output(flags);
  const text = await withServer(flags, (wj) => MAKERS[what]({ wj, application, flags }));
  const { output: file } = flags;
  if (file === undefined) {
    output.result({ what, text }, () => text);
    return;
  }
  await writeFile(file, text).catch((error: unknown) => {
    throw new InvalidOptionsError(`--output ${file}: ${String(error)}`, {
      cause: error,
      details: { option: "output" },
    });
  });
  output.result({ what, file }, () => `wrote ${file}`);
}

/** @throws InvalidOptionsError */
function checkTogether(what: ExportName, application: string | undefined, flags: ExportFlags): void {
  const belongs = [
    ["--admin", flags.admin, "openapi"],
    ["--state-dir", flags.stateDir, "compose"],
    ["--image", flags.image, "compose"],
    ["--base-image", flags.baseImage, "compose"],
  ] as const;
  const strange = belongs.find(([, value, owner]) => value !== undefined && owner !== what);
  if (strange !== undefined)
    throw new InvalidOptionsError(`${strange[0]} belongs to export ${strange[2]}, not to export ${what}`);
  if (application === undefined) return;
  if (what === "compose" || flags.admin === true) {
    const whole = what === "compose" ? "a compose file" : "the management API's document";
    throw new InvalidOptionsError(`${whole} is of the whole server; leave out "${application}"`);
  }
}

async function openApi({ wj, application, flags }: Context): Promise<string> {
  if (application !== undefined) await checkApplication(wj, application);
  const token = flags.admin === true ? (flags.token ?? tokenFromEnvironment()) : undefined;
  const url =
    flags.admin === true
      ? `${wj.adminUrl}/api/v1/openapi.json`
      : `${wj.url}/${application === undefined ? "" : `${application}/`}openapi.json`;
  return `${JSON.stringify(await fetched(url, token), undefined, 2)}\n`;
}

async function typedClient({ wj, application }: Context): Promise<string> {
  if (application !== undefined) await checkApplication(wj, application);
  const linked = (await wj.links()).map((link) => link.application);
  const names = application === undefined ? linked : [application];
  const applications = await Promise.all(names.map((name) => described(wj, name)));
  const root = dirname(createRequire(import.meta.url).resolve("windjammer/package.json"));
  const runtime = await readFile(join(root, "core/cli/exporting/client-runtime.ts"), "utf8");
  return clientSource({ applications, url: wj.url, runtime });
}

interface Document {
  readonly info: { readonly description: string };
  readonly components: { readonly schemas: Readonly<Record<string, JsonValue>> };
}

async function described(wj: Windjammer, name: string): Promise<DescribedApplication> {
  const { info, components } = (await fetched(`${wj.url}/${name}/openapi.json`)) as Document;
  // Its first sentence says which model.
  const [description = ""] = /^.*?\.(?= )/.exec(info.description) ?? [];
  return { name, schemas: components.schemas, description };
}

/** @throws ApplicationNotFoundError */
async function checkApplication(wj: Windjammer, name: string): Promise<void> {
  const known = (await wj.applications()).map((application) => application.name);
  if (known.includes(name)) return;
  throw new ApplicationNotFoundError(
    `no application is named "${name}"; ${didYouMean(name, known, "windjammer apps lists them")}`,
    { details: { name } },
  );
}

/** @param token for the management API only: the query API knows none */
async function fetched(url: string, token?: string): Promise<unknown> {
  const connection = new Connection(token);
  try {
    return JSON.parse(await connection.call("GET", url));
  } finally {
    await connection.close();
  }
}
