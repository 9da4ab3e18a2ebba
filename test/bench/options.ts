// The options of `npm run bench`, read.
import { parseArgs } from "node:util";
import type { Effort } from "./lab.ts";
import { type Peer, peerOf } from "./peer-option.ts";
import { secondsOf } from "./soak.ts";

export interface BenchOptions {
  readonly isHelp: boolean;
  readonly isQuick: boolean;
  /** Undefined: those by default. */
  readonly parts: readonly string[] | undefined;
  readonly connections: readonly number[];
  readonly effort: Effort;
  readonly peers: readonly Peer[];
  readonly baseImage: string | undefined;
  /** Seconds of nothing but load. */
  readonly soakSeconds: number | undefined;
  readonly isForReadme: boolean;
  readonly jsonFile: string | undefined;
}

/** Of the options, without the parts. */
export const OPTIONS_HELP = `  --quick              less of everything, under a minute
  --connections 1,64   of the part path; default 1,16,64,256, and 1,64 with --quick or --readme
  --seconds 1          a sample
  --repeats 5          samples of each, interleaved
  --peer server        any server that runs, in the table of the part peers: name=url, where it takes {"input": [784 numbers]}
                       by POST, or name=url|body|path, such as
                       'x=http://127.0.0.1:8080/v1/models/m:predict|{"instances":[$row]}|predictions.0'; can be repeated
  --base-image image   of the parts isolation and images
  --soak 10m           nothing but load for so long
  --readme             prints the README's table of speed behind the others; about 20 minutes
  --json file          writes all figures as JSON, too`;

/** @throws Error about an option that is not one, or what it was given */
export function optionsOf(args: readonly string[]): BenchOptions {
  const { values: flags } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      parts: { type: "string" },
      connections: { type: "string" },
      seconds: { type: "string" },
      repeats: { type: "string" },
      peer: { type: "string", multiple: true, default: [] },
      "base-image": { type: "string" },
      soak: { type: "string" },
      readme: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const { quick, readme, soak } = flags;
  const connections = flags.connections ?? (quick || readme ? "1,64" : "1,16,64,256");
  return {
    isHelp: flags.help,
    isQuick: quick,
    parts: flags.parts?.split(","),
    connections: connections.split(",").map((text) => positive(text, "connections")),
    effort: {
      seconds: positive(flags.seconds ?? (quick ? "0.5" : "1"), "seconds"),
      repeats: positive(flags.repeats ?? (quick ? "2" : "5"), "repeats"),
    },
    peers: flags.peer.map(peerOf),
    baseImage: flags["base-image"],
    soakSeconds: soak === undefined ? undefined : secondsOf(soak),
    isForReadme: readme,
    jsonFile: flags.json,
  };
}

function positive(text: string, option: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new Error(`--${option} takes numbers above 0, not ${text}`);
}
