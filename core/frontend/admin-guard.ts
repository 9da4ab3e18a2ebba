// Who may use the management API: the bearer token, and without one only programs of this machine (no web page).
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isLoopbackName } from "../config.ts";
import { InvalidRequestError, UnauthorizedError } from "../errors.ts";

/** Throws when a request may not pass. */
export type Guard = (request: Pick<IncomingMessage, "headers">) => void;

/**
 * With a token, every request needs it. Without one the listener is on a loopback address, where any web page the user
 * opens could reach it: requests to another Host (DNS rebinding) or from another Origin are refused.
 */
export function createGuard(token: string | undefined): Guard {
  return token === undefined ? localOnly : bearer(token);
}

function bearer(token: string): Guard {
  const expected = digest(token);
  return (request) => {
    const header = request.headers.authorization;
    if (header === undefined) {
      throw new UnauthorizedError(
        "the management API of this server needs its token; send `Authorization: Bearer TOKEN`",
      );
    }
    const [, given] = /^Bearer +(\S+) *$/i.exec(header) ?? [];
    // Digests have one length, so that the comparison says nothing about the token's own.
    if (given === undefined || !timingSafeEqual(digest(given), expected))
      throw new UnauthorizedError("wrong token; it is the one the server was started with");
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function localOnly(request: Pick<IncomingMessage, "headers">): void {
  const host = request.headers.host ?? "";
  if (!isLoopbackName(hostnameOf(host))) {
    throw new InvalidRequestError(
      `Host ${JSON.stringify(host)} is not a loopback name; without a token the management API answers only to localhost, 127.0.0.1 and [::1]`,
      { details: { header: "host", value: host } },
    );
  }
  refuseOtherPages(request);
}

/** Refuses what a web page of another origin sends; programs send no Origin. */
export function refuseOtherPages(request: Pick<IncomingMessage, "headers">): void {
  const { origin, host = "" } = request.headers;
  if (origin !== undefined && !isSameHost(origin, host)) {
    throw new InvalidRequestError(
      `Origin ${JSON.stringify(origin)} is not this server; without a token the management API does not answer to other web pages`,
      { details: { header: "origin", value: origin } },
    );
  }
}

function hostnameOf(host: string): string {
  try {
    return new URL(`http://${host}`).hostname;
  } catch {
    return "";
  }
}

function isSameHost(origin: string, host: string): boolean {
  try {
    return new URL(origin).host === new URL(`http://${host}`).host;
  } catch {
    return false;
  }
}
