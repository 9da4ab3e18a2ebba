// Node's HTTP, without the fetch that comes along with an import of it.
import type * as Http from "node:http";

/**
 * An import of one of Node's modules reads all of its exports, and one of node:http's (WebSocket) loads the whole of fetch:
 * 13 MiB and 40 ms. So servers and containers take what they use from here, and only types from there.
 */
const http: typeof Http = process.getBuiltinModule("node:http");

export const createServer: typeof Http.createServer = http.createServer;
export const request: typeof Http.request = http.request;
export const STATUS_CODES: typeof Http.STATUS_CODES = http.STATUS_CODES;
