// Our errors as gRPC's codes.
import type { ServiceError } from "@grpc/grpc-js";
import { oipMessage } from "../dialects/oip/oip.ts";
import { toWindjammerError } from "../../errors.ts";

type Grpc = typeof import("@grpc/grpc-js");

/** By HTTP status; the others are INTERNAL. */
const CODES: ReadonlyMap<number, keyof Grpc["status"]> = new Map([
  [400, "INVALID_ARGUMENT"],
  [401, "UNAUTHENTICATED"],
  [404, "NOT_FOUND"],
  [409, "FAILED_PRECONDITION"],
  [413, "RESOURCE_EXHAUSTED"],
  [499, "CANCELLED"],
  [501, "UNIMPLEMENTED"],
  [503, "UNAVAILABLE"],
  [504, "DEADLINE_EXCEEDED"],
]);

/** The message is the one of REST; `windjammer-code` and `retry-after` are in the metadata. */
export function grpcError(grpc: Grpc, thrown: unknown): ServiceError {
  const error = toWindjammerError(thrown);
  const metadata = new grpc.Metadata();
  metadata.set("windjammer-code", error.code);
  if (error.retryAfterS !== undefined) metadata.set("retry-after", String(Math.ceil(error.retryAfterS)));
  const code = grpc.status[CODES.get(error.statusCode) ?? "INTERNAL"] as ServiceError["code"];
  const details = oipMessage(error);
  return Object.assign(new Error(details), { code, details, metadata });
}
