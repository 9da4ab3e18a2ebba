// Entry of a worker process: hears the server's own process, and ends with it.
import type { Socket } from "node:net";
import type { FromWorker, ToWorker } from "./messages.ts";
import { Worker } from "./worker.ts";

function tell(message: FromWorker): void {
  // Whom it would concern has gone when the channel has.
  if (process.connected) process.send?.(message);
}

let begun: Promise<Worker> | undefined;

async function hear(message: ToWorker, socket: Socket | undefined): Promise<void> {
  if (message.kind === "begin") {
    begun = Worker.begin(message, tell);
    return;
  }
  // What is told while it begins is heard afterwards, in the same order.
  const worker = await begun;
  if (message.kind === "connection") {
    worker?.take(message.id, socket);
  } else if (message.kind === "stop") {
    await worker?.stop(message.graceMs);
    process.disconnect();
  } else {
    worker?.hear(message);
  }
}

process.on("message", (message, handle) => {
  void hear(message as ToWorker, handle as Socket | undefined);
});
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches every process of a terminal; the server's own one says when to stop.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => undefined);
tell({ kind: "hello" });
