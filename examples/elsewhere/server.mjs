// A model server of somebody else's: the Beaufort number of a wind speed, by the Open Inference Protocol in JSON.
import { createServer } from "node:http";

const MODEL = "/v2/models/wind";
const GET = {
  "/v2": { name: "harbour", version: "1", extensions: [] },
  "/v2/health/live": { live: true },
  "/v2/health/ready": { ready: true },
  [`${MODEL}/ready`]: { ready: true },
  [MODEL]: {
    name: "wind",
    inputs: [{ name: "speed", datatype: "FP32", shape: [-1] }],
    outputs: [{ name: "force", datatype: "INT32", shape: [-1] }],
  },
};

function infer(body) {
  const { shape, data } = JSON.parse(body).inputs[0];
  const forces = data.map((speed) => Math.min(12, Math.round((speed / 0.836) ** (2 / 3))));
  return { outputs: [{ name: "force", datatype: "INT32", shape, data: forces }] };
}

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const isInfer = request.method === "POST" && request.url === `${MODEL}/infer`;
  const answer = isInfer ? infer(body) : GET[request.url];
  response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer ?? { error: `no ${request.url} here` }));
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () =>
  console.log(`http://127.0.0.1:${server.address().port}`),
);
