// `npm run fuzz`: fuzzes every dialect, or those that are named, and prints what came back. Fails when something is wrong.
import { parseArgs } from "node:util";
import { clipperTarget } from "./clipper.ts";
import { grpcTarget } from "./grpc.ts";
import { hostsTarget } from "./hosts.ts";
import { oipTarget } from "./oip.ts";
import { fuzz, type FuzzTarget } from "./runner.ts";

/** By name; a dialect adds its own line. */
const TARGETS: Readonly<Record<string, () => Promise<FuzzTarget>>> = {
  clipper: clipperTarget,
  oip: oipTarget,
  hosts: hostsTarget,
  grpc: grpcTarget,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: "string", default: "55000" },
    seconds: { type: "string", default: "600" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  },
});
const seed = Number(values.seed);
const names = positionals.length === 0 ? Object.keys(TARGETS) : positionals;
process.stdout.write(`seed ${seed}; again with npm run fuzz -- --seed ${seed} ${names.join(" ")}\n`);
for (const name of names) {
  const open = TARGETS[name];
  if (open === undefined) throw new Error(`no dialect ${name}; there is ${Object.keys(TARGETS).join(", ")}`);
  await using target = await open();
  const limits = { requests: Number(values.requests), seconds: Number(values.seconds), seed };
  const { failures, ...report } = await fuzz(target, limits);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
  if (failures.length > 0) process.exitCode = 1;
}
