// `windjammer status`: whether a server answers, and how it is.
import type { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import type { ReplicaStatus } from "../types.ts";
import { fields, Output, paint } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { durationText } from "./units.ts";

export function statusCommand(): Command {
  return serverCommand("status", "whether a server answers, and how it is").action(
    async (flags: ServerFlags) => {
      const output = new Output(flags);
      const status = await withServer(flags, read);
      output.result(status, () => text(status));
    },
  );
}

type Status = Awaited<ReturnType<typeof read>>;

async function read(wj: Windjammer): Promise<{
  readonly url: string;
  readonly queryUrl: string;
  readonly version: string;
  readonly runtime: string;
  readonly startedAt: string;
  readonly applications: number;
  readonly models: number;
  readonly deploying: readonly { readonly model: string; readonly version: string }[];
  readonly replicas: { readonly ready: number; readonly all: number };
  readonly troubled: readonly ReplicaStatus[];
}> {
  const [info, applications, models, replicas, deployments] = await Promise.all([
    wj.info(),
    wj.applications(),
    wj.models(),
    wj.replicas(),
    wj.deployments(),
  ]);
  const { version, runtime, startedAt } = info;
  return {
    url: wj.adminUrl,
    queryUrl: wj.url,
    version,
    runtime,
    startedAt,
    applications: applications.length,
    models: models.length,
    deploying: deployments
      .filter(({ state }) => state === "running")
      .map(({ model, version: next }) => ({ model, version: next })),
    replicas: { ready: replicas.filter(({ state }) => state === "ready").length, all: replicas.length },
    troubled: replicas.filter(({ state }) => state === "restarting" || state === "failed"),
  };
}

function text(status: Status): string {
  const { replicas, troubled, deploying } = status;
  const isWell = replicas.ready === replicas.all;
  const lines = [
    fields([
      [
        "server",
        `Windjammer ${status.version}, runtime ${status.runtime}, up for ${durationText(Date.now() - Date.parse(status.startedAt))}`,
      ],
      ["management API", status.url],
      ["query API", status.queryUrl],
      ["applications", String(status.applications)],
      ["models", String(status.models)],
      ["replicas", paint(isWell ? "green" : "yellow", `${replicas.ready} of ${replicas.all} ready`)],
      [
        "deploying",
        deploying.length === 0
          ? undefined
          : deploying.map(({ model, version }) => `${model} ${version}`).join(", "),
      ],
    ]),
    ...troubled.map(({ id, state, lastExit }) =>
      paint("red", `${id} is ${state}${lastExit === undefined ? "" : `: ${lastExit.message}`}`),
    ),
  ];
  if (status.models === 0) lines.push("nothing is deployed yet: windjammer deploy --help");
  return lines.join("\n");
}
