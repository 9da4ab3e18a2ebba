// A server on the Docker runtime that deploys a model when it has none, says what it is, and waits to be killed.
import { sourceDeployer, answering } from "../helpers/bundles.ts";
import { connect, startServer } from "windjammer";
import { docker } from "windjammer/runtimes/docker";

const [stateDir = "", baseImage = "", host = "", name = "model"] = process.argv.slice(2);
const server = await startServer({
  port: 0,
  adminPort: 0,
  stateDir,
  cacheDir: `${stateDir}-cache`,
  logLevel: "warn",
  runtime: docker({ baseImage, ...(host === "" ? {} : { host }) }),
});
await using wj = await connect(server.adminUrl);
if ((await wj.models()).length === 0) {
  await wj.deploy(sourceDeployer, {
    name,
    version: "1",
    source: answering("({ by: 1, input })"),
    replicas: 2,
  });
}
console.log(JSON.stringify({ queryUrl: server.queryUrl, adminUrl: server.adminUrl }));
// Ends by itself then: nothing of the server is left that would keep it.
process.once("SIGTERM", () => void server.close());
