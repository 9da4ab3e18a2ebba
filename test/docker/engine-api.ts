// Calls to the engine that only tests make.
import { request } from "node:http";
import { json } from "node:stream/consumers";

/** @param path below the API's root, such as "/images/x/history" */
function engineApi(path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request({ socketPath: "/var/run/docker.sock", path }, (reply) => json(reply).then(resolve, reject))
      .on("error", reject)
      .end();
  });
}

/** The instructions that made an image's layers, as the engine keeps them. */
export async function historyOf(image: string): Promise<string> {
  const layers = (await engineApi(`/images/${encodeURIComponent(image)}/history`)) as { CreatedBy: string }[];
  return layers.map(({ CreatedBy }) => CreatedBy).join("\n");
}
