// A server that begins one deployment of a kind, and kills itself at one of its events: its nth one, or the nth of a step.
import { windjammer } from "../../core/windjammer.ts";
import { answering, sourceDeployer } from "../helpers/bundles.ts";

const [stateDir = "", cacheDir = "", killAt = "0", kind = "rollout"] = process.argv.slice(2);

const name = "model";
const counts = new Map<string, number>();

const wj = await windjammer({
  port: 0,
  adminPort: 0,
  stateDir,
  cacheDir,
  onEvent: (_, { sequence, step, message }) => {
    const count = (counts.get(step) ?? 0) + 1;
    counts.set(step, count);
    if (killAt !== String(sequence) && killAt !== `${step}/${count}`) return;
    // Written at once, since nothing is flushed behind the next line.
    process.stderr.write(`killed at ${sequence} (${step}): ${message}\n`);
    process.kill(process.pid, "SIGKILL");
  },
});

const deployments: Record<string, () => Promise<unknown>> = {
  first: () => wj.deploy(sourceDeployer, { name, version: "1", source: answering("({ by: 1, input })") }),
  rollout: () =>
    wj.deploy(sourceDeployer, {
      name,
      version: "2",
      source: answering("({ by: 2, input })"),
      replicas: 2,
      examples: [{ input: 5, output: { by: 2, input: 5 } }],
    }),
  withoutSwitch: () =>
    wj.deploy(sourceDeployer, {
      name,
      version: "2",
      source: answering("({ by: 2, input })"),
      replicas: 2,
      switch: false,
      examples: [{ input: 5, output: { by: 2, input: 5 } }],
    }),
  settings: () =>
    wj.deploy(sourceDeployer, {
      name,
      version: "1",
      source: answering("({ by: 1, input })"),
      replicas: 2,
      latencyObjectiveMs: 5_000,
    }),
  setVersion: () => wj.setVersion(name, "1"),
};

if (kind !== "first") {
  const application = await wj.application(name);
  for (let isServing = false; !isServing;) {
    isServing = await application.predict(0).then(
      () => true,
      () => false,
    );
  }
}
await deployments[kind]?.();
await wj.close();
