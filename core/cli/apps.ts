// `windjammer apps`: the applications, and what answers them.
import type { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import type { Application } from "../types.ts";
import { Output, table } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { durationText } from "./units.ts";

/** An application, and what it is linked to. */
interface ListedApplication extends Application {
  readonly url: string;
  /** Null: linked to no model. */
  readonly model: string | null;
  readonly version: string | null;
}

export function appsCommand(): Command {
  return serverCommand("apps", "the applications, and what answers them").action(
    async (flags: ServerFlags) => {
      const output = new Output(flags);
      const applications = await withServer(flags, listApplications);
      output.result(applications, () =>
        applications.length === 0
          ? "no applications yet: windjammer deploy --help"
          : applicationsTable(applications),
      );
    },
  );
}

async function listApplications(wj: Windjammer): Promise<readonly ListedApplication[]> {
  const [applications, links, models] = await Promise.all([wj.applications(), wj.links(), wj.models()]);
  return applications.map((application) => {
    const model = links.find((link) => link.application === application.name)?.model;
    return Object.assign(application, {
      url: `${wj.url}/${application.name}/predict`,
      model: model ?? null,
      version: models.find(({ name }) => name === model)?.currentVersion ?? null,
    });
  });
}

function applicationsTable(applications: readonly ListedApplication[]): string {
  return table(
    ["APPLICATION", "INPUT", "MODEL", "VERSION", "OBJECTIVE", "URL"],
    applications.map(({ name, inputType, model, version, latencyObjectiveMs, url }) => [
      { text: name, style: "bold" },
      inputType,
      model ?? { text: "no model", style: "yellow" },
      version ?? undefined,
      latencyObjectiveMs === undefined ? undefined : durationText(latencyObjectiveMs),
      url,
    ]),
  );
}
