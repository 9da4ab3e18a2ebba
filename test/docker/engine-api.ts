// Calls to the engine that only tests make.
import { request } from "node:http";
import { json } from "node:stream/consumers";

/** @param path below the API's root, such as "/images/x/history" */
function engineApi(path: string, method: "GET" | "DELETE" = "GET"): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request({ socketPath: "/var/run/docker.sock", path, method }, (reply) =>
      json(reply).then(resolve, reject),
    )
      .on("error", reject)
      .end();
  });
}

/** The instructions that made an image's layers, as the engine keeps them. */
export async function historyOf(image: string): Promise<string> {
  const layers = (await engineApi(`/images/${encodeURIComponent(image)}/history`)) as { CreatedBy: string }[];
  return layers.map(({ CreatedBy }) => CreatedBy).join("\n");
}

/** As somebody does it who does not ask what uses an image. */
export async function forceImageAway(image: string): Promise<void> {
  await engineApi(`/images/${encodeURIComponent(image)}?force=1`, "DELETE");
}

/** Names of all volumes and networks of the engine, sorted. */
export async function volumesAndNetworks(): Promise<readonly string[]> {
  const { Volumes: volumes } = (await engineApi("/volumes")) as { Volumes: { Name: string }[] | null };
  const networks = (await engineApi("/networks")) as { Name: string }[];
  return [...(volumes ?? []), ...networks].map(({ Name }) => Name).toSorted();
}
