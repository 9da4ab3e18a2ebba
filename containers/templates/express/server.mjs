// A model server of the Open Inference Protocol on Express. The model is in model.mjs.
import { chmodSync, rmSync } from "node:fs";
import express from "express";
import { inputs, load, outputs, predict } from "./model.mjs";
import { readInputs, Refusal, writeOutputs } from "./tensors.mjs";

const { WINDJAMMER_SOCKET: socket, WINDJAMMER_HOST: host = "0.0.0.0", PORT: port = "8080" } = process.env;
const { WINDJAMMER_MODEL_NAME: name = "model", WINDJAMMER_MODEL_VERSION: version = "1" } = process.env;

let model;
let isStopping = false;
/** Calls run one after the other. */
let turn = Promise.resolve();

const app = express();
app.disable("x-powered-by");
app.disable("etag");

app.use((request, response, next) => {
  if (isStopping) response.set("connection", "close");
  next();
});
app.get("/v2", (request, response) => {
  response.json({ name: "express-template", version: "1", extensions: ["binary_tensor_data"] });
});
app.get("/v2/health/live", (request, response) => {
  response.json({ live: true });
});
app.get("/v2/health/ready", ready);

const routes = express.Router();
app.use([`/v2/models/${name}`, `/v2/models/${name}/versions/${version}`], routes);
routes.get("/", (request, response) => {
  response.json({
    name,
    versions: [version],
    platform: "node",
    inputs: batched(inputs),
    outputs: batched(outputs),
  });
});
routes.get("/ready", ready);
// Bodies are told apart by this header alone, whatever their content type.
routes.post("/infer", express.raw({ type: () => true, limit: "1gb" }), async (request, response) => {
  const length = request.get("inference-header-content-length");
  const isBinary = length !== undefined;
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const { rows, count } = readInputs(body, isBinary ? Number(length) : undefined, inputs);
  const answers = turn.then(() => predict(model, rows));
  turn = answers.catch(() => {});
  const head = { model_name: name, model_version: version };
  const reply = writeOutputs(await answers, { specs: outputs, count, isBinary, head });
  response.set(reply.headers).send(reply.body);
});

app.use((request, response) => {
  response.status(404).json({ error: `unknown path, or Request for unknown model: ${request.path}` });
});
app.use((error, request, response, next) => {
  response.status(error instanceof Refusal ? 400 : (error.status ?? 500)).json({ error: error.message });
});

function ready(request, response) {
  const isReady = model !== undefined && !isStopping;
  response.status(isReady ? 200 : 503).json({ name, ready: isReady });
}

function batched(specs) {
  return specs.map((spec) => ({ ...spec, shape: [-1, ...spec.shape] }));
}

if (socket) rmSync(socket, { force: true });
const server = socket ? app.listen(socket, () => chmodSync(socket, 0o660)) : app.listen(Number(port), host);
server.keepAliveTimeout = 0;
server.requestTimeout = 0;

/** All calls that have arrived are answered first. */
process.on("SIGTERM", () => {
  if (isStopping) process.exit(1);
  isStopping = true;
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

model = await load(import.meta.dirname);
console.log(`ready on ${socket ?? `port ${port}`}`);
