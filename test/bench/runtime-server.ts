// A server on one runtime, for the comparison of runtimes: `process`, `docker-socket` or `docker-port`, and a base image.
import { deployFunction, deployOnnxModel, startServer, connect, type Runtime } from "windjammer";
import { docker } from "windjammer/runtimes/docker";
import { processRuntime } from "windjammer/runtimes/process";

const [name = "process", baseImage] = process.argv.slice(2);
const file = (path: string): string => new URL(path, import.meta.url).pathname;

function runtime(): Runtime {
  if (name === "process") return processRuntime();
  return docker({ baseImage, transport: name === "docker-port" ? "port" : "auto" });
}

const server = await startServer({ port: 0, adminPort: 0, runtime: runtime() });
await using wj = await connect(server.adminUrl);
await deployFunction(wj, { name: "first", version: "1", inputType: "doubles", module: file("first.ts") });
const model = file("../../examples/digits/digits.onnx");
await deployOnnxModel(wj, { name: "digits", version: "1", model, inputType: "floats" });
console.log(server.queryUrl);
process.once("SIGTERM", () => void server.close());
