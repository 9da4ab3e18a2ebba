// A model server of the Open Inference Protocol in Node, with nothing to install. The model is in model.mjs.
import { chmodSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { inputs, load, outputs, predict } from "./model.mjs";
import { readInputs, Refusal, writeOutputs } from "./tensors.mjs";

const { WINDJAMMER_SOCKET: socket, WINDJAMMER_HOST: host = "0.0.0.0", PORT: port = "8080" } = process.env;
const { WINDJAMMER_MODEL_NAME: name = "model", WINDJAMMER_MODEL_VERSION: version = "1" } = process.env;
const MAX_BODY = 2 ** 30;
const PATHS = [`/v2/models/${name}`, `/v2/models/${name}/versions/${version}`];

let model;
let isStopping = false;
/** Calls run one after the other. */
let turn = Promise.resolve();

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    const status = error instanceof Refusal ? 400 : 500;
    answer(response, status, { error: error.message });
  });
});

async function handle(request, response) {
  const path = request.url ?? "";
  const isReady = model !== undefined && !isStopping;
  if (request.method === "POST") {
    const body = await read(request);
    if (!PATHS.some((model) => path === `${model}/infer`))
      answer(response, 404, { error: `Request for unknown model: ${path}` });
    else await infer(request, body, response);
  } else if (path === "/v2" || path === "/v2/") {
    answer(response, 200, { name: "node-template", version: "1", extensions: ["binary_tensor_data"] });
  } else if (path === "/v2/health/live") {
    answer(response, 200, { live: true });
  } else if (path === "/v2/health/ready" || PATHS.some((model) => path === `${model}/ready`)) {
    answer(response, isReady ? 200 : 503, { name, ready: isReady });
  } else if (PATHS.includes(path)) {
    answer(response, 200, {
      name,
      versions: [version],
      platform: "node",
      inputs: batched(inputs),
      outputs: batched(outputs),
    });
  } else {
    answer(response, 404, { error: `unknown path, or Request for unknown model: ${path}` });
  }
}

async function infer(request, body, response) {
  const length = request.headers["inference-header-content-length"];
  const isBinary = length !== undefined;
  const { rows, count } = readInputs(body, isBinary ? Number(length) : undefined, inputs);
  const answers = turn.then(() => predict(model, rows));
  turn = answers.catch(() => {});
  const head = { model_name: name, model_version: version };
  const reply = writeOutputs(await answers, { specs: outputs, count, isBinary, head });
  response
    .writeHead(200, { ...reply.headers, "content-length": reply.body.length, ...closing() })
    .end(reply.body);
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Refusal(`the body is over ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function answer(response, status, body) {
  const text = JSON.stringify(body);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  response.writeHead(status, { ...headers, ...closing() }).end(text);
}

function closing() {
  return isStopping ? { connection: "close" } : {};
}

function batched(specs) {
  return specs.map((spec) => ({ ...spec, shape: [-1, ...spec.shape] }));
}

/** All calls that have arrived are answered first. */
process.on("SIGTERM", () => {
  if (isStopping) process.exit(1);
  isStopping = true;
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

server.keepAliveTimeout = 0;
server.requestTimeout = 0;
if (socket) {
  rmSync(socket, { force: true });
  server.listen(socket, () => chmodSync(socket, 0o660));
} else {
  server.listen(Number(port), host);
}
model = await load(import.meta.dirname);
console.log(`ready on ${socket ?? `port ${port}`}`);
