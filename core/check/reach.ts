// Whether anybody listens at a URL, before it is asked for anything.
import { once } from "node:events";
import { connect } from "node:net";

/** A host that is switched off does not refuse: it says nothing. */
const TIMEOUT_MS = 5_000;

/** Why no connection comes about, as the system says; undefined: one does. @throws the reason of an aborted signal */
export async function whyUnreachable(url: string, signal: AbortSignal): Promise<string | undefined> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replaceAll(/^\[|\]$/g, "");
  const socket = connect({ host, port: Number(port || (protocol === "https:" ? 443 : 80)) });
  try {
    await once(socket, "connect", { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) });
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    const { name, code, message } = error as NodeJS.ErrnoException;
    return name === "AbortError" ? `no answer within ${TIMEOUT_MS} ms` : (code ?? message);
  } finally {
    socket.on("error", () => undefined).destroy();
  }
}
