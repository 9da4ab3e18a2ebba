// Two model servers that run elsewhere become one endpoint: batched, spread, watched. One of them is lost, and none of the
// queries.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { deployContainer, windjammer } from "windjammer";

const SPEEDS = [3, 12, 30];

const servers = [start(), start()] as const;
try {
  const url = await Promise.all(servers.map(addressOf));
  await using wj = await windjammer({ port: 0, adminPort: 0 });
  const wind = await deployContainer<number, number>(wj, { name: "wind", version: "1", url });
  const replicas = await wj.replicas();
  console.log(`${replicas.length} servers elsewhere answer at ${wind.url}`);
  for (const [index, force] of (await wind.predictBatch(SPEEDS)).entries())
    console.log(`  ${SPEEDS[index]?.toFixed(1).padStart(5)} m/s   force ${force}`);

  servers[0].kill("SIGKILL");
  await once(servers[0], "exit");
  const answers = await Promise.all(Array.from({ length: 20 }, () => wind.predict(12)));
  console.log(
    `One of them is gone: ${answers.filter((force) => force === 6).length} of 20 queries are answered`,
  );
} finally {
  for (const server of servers) server.kill();
}

function start(): ChildProcess {
  const program = fileURLToPath(new URL("server.mjs", import.meta.url));
  return spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
}

/** It prints its address when it listens. */
async function addressOf(server: ChildProcess): Promise<string> {
  if (server.stdout === null) throw new Error("the server has no output");
  const [line] = (await once(server.stdout.setEncoding("utf8"), "data")) as [string];
  return line.trim();
}
