// Ten thousand open connections: the server holds them, answers on them, and closes cleanly.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as open, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { connect, deployFunction } from "windjammer";

const CONNECTIONS = 10_000;
const AT_ONCE = 250;

async function openAll(port: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < CONNECTIONS) {
    const some = Array.from({ length: AT_ONCE }, () => open(port, "127.0.0.1"));
    await Promise.all(some.map((socket) => once(socket, "connect")));
    sockets.push(...some);
  }
  return sockets;
}

/** Sends a query on a raw socket and resolves to the reply's body. */
async function ask(socket: Socket, value: number): Promise<string> {
  const body = `{"input":[${value}]}`;
  socket.write(`POST /first/predict HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  const [reply] = (await once(socket, "data")) as [Buffer];
  return reply.toString().split("\r\n\r\n")[1] ?? "";
}

it(`holds ${CONNECTIONS} connections and answers on every hundredth of them`, async () => {
  const folder = await mkdtemp(join(tmpdir(), "wj-connections-"));
  const main = new URL("../../core/cli/main.ts", import.meta.url).pathname;
  const args = [
    main,
    "start",
    "--port",
    "0",
    "--admin-port",
    "0",
    "--state-dir",
    folder,
    "--log-level",
    "warn",
  ];
  const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const sockets: Socket[] = [];
  try {
    let output = "";
    for await (const chunk of server.stdout) {
      output += String(chunk);
      if (output.includes("try it")) break;
    }
    await using wj = await connect(/management API\s+(\S+)/.exec(output)?.[1] ?? "");
    await writeFile(
      join(folder, "first.ts"),
      "export const predict = (xs: number[][]): unknown[] => xs.map(([x]) => x);\n",
    );
    await deployFunction(wj, {
      name: "first",
      version: "1",
      inputType: "doubles",
      module: join(folder, "first.ts"),
    });
    sockets.push(...(await openAll(Number(new URL(wj.url).port))));
    for (let index = 0; index < CONNECTIONS; index += 100) {
      const socket = sockets[index];
      if (socket === undefined) throw new Error(`connection ${index} is missing`);
      expect(JSON.parse(await ask(socket, index))).toMatchObject({ output: index, default: false });
    }
    expect(sockets.filter((socket) => socket.destroyed)).toEqual([]);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.kill("SIGTERM");
    if (server.exitCode === null) await once(server, "exit");
    await rm(folder, { recursive: true, force: true });
  }
  // Nobody reads its output any more, and it closes properly all the same.
  expect([server.exitCode, server.signalCode]).toEqual([0, null]);
});
