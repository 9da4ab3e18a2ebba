// Hands requests that are no predictions on to the server's own process, and its replies back.
import type { IncomingMessage, ServerResponse } from "node:http";
import { request as ask } from "../../containers/node-http.ts";
import { errorBody } from "../error-replies.ts";
import { ShuttingDownError } from "../errors.ts";

/** Of one connection only (RFC 9110, section 7.6.1), and what the worker has seen to itself. */
const NOT_FORWARDED = new Set(["connection", "keep-alive", "proxy-connection", "expect", "upgrade"]);

export interface Forward {
  (request: IncomingMessage, response: ServerResponse): void;
}

export function forwardTo(serverUrl: string): Forward {
  const { hostname: host, port } = new URL(serverUrl);
  return (request, response) => {
    const { method, url: path } = request;
    // A connection each: one that is kept may be closed by the other side just as it is used again.
    const onward = ask({ agent: false, host, port, method, path, headers: forwarded(request.rawHeaders) });
    onward.on("response", (reply) => {
      response.writeHead(reply.statusCode ?? 502, forwarded(reply.rawHeaders));
      reply.pipe(response);
      reply.on("error", () => response.destroy());
    });
    onward.on("error", () => refuse(response));
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  };
}

/** Names and values in turn, as they came. */
function forwarded(rawHeaders: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const [name = "", value = ""] = rawHeaders.slice(index, index + 2);
    if (!NOT_FORWARDED.has(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}

function refuse(response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const error = new ShuttingDownError("the server's own process does not answer; try again in a moment");
  response.writeHead(error.statusCode, { "content-type": "application/json", "retry-after": "1" });
  response.end(JSON.stringify(errorBody(error)));
}
