// A server over a state folder in which version 1 serves: deploys version 2, and kills itself at one of its events.
import { windjammer } from "../../core/windjammer.ts";
import { answering, sourceDeployer } from "../helpers/bundles.ts";

const [stateDir = "", cacheDir = "", killAt = "0"] = process.argv.slice(2);

const wj = await windjammer({
  port: 0,
  adminPort: 0,
  stateDir,
  cacheDir,
  onEvent: (deployment, event) => {
    if (deployment.version !== "2" || event.sequence !== Number(killAt)) return;
    // Written at once, since nothing is flushed behind the next line.
    process.stderr.write(`killed at ${event.sequence} (${event.step}): ${event.message}\n`);
    process.kill(process.pid, "SIGKILL");
  },
});
const application = await wj.application("model");
for (let isServing = false; !isServing;) {
  isServing = await application.predict(0).then(
    () => true,
    () => false,
  );
}
await wj.deploy(sourceDeployer, {
  name: "model",
  version: "2",
  source: answering("({ by: 2, input })"),
  replicas: 2,
  examples: [{ input: 5, output: { by: 2, input: 5 } }],
});
await wj.close();
