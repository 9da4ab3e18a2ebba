// A server on one runtime, for the comparison of runtimes: `process`, `docker-socket` or `docker-port`, and a base image.
import { deployFunction, startServer, connect, type Runtime } from "windjammer";
import { docker } from "windjammer/runtimes/docker";
import { processRuntime } from "windjammer/runtimes/process";

const [name = "process", baseImage] = process.argv.slice(2);

function runtime(): Runtime {
  if (name === "process") return processRuntime();
  return docker({ baseImage, transport: name === "docker-port" ? "port" : "auto" });
}

const server = await startServer({ port: 0, adminPort: 0, runtime: runtime() });
await using wj = await connect(server.adminUrl);
const module = new URL("../models/first.ts", import.meta.url).pathname;
await deployFunction(wj, { name: "first", version: "1", inputType: "doubles", module });
console.log(server.queryUrl);
process.once("SIGTERM", () => void server.close());
