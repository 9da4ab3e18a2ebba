import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { errorBody, errorFromBody } from "../core/error-replies.ts";
import { ERROR_CLASSES, toWindjammerError, WindjammerError } from "../core/errors.ts";

const readme = readFileSync(new URL("../core/README.md", import.meta.url), "utf8");
const rows = [...readme.matchAll(/^\| `([A-Z_]+)` \| (\d{3}) \| (yes|no) \|/gm)].map(
  ([, code, status, retry]) => `${code} ${status} ${retry}`,
);

describe("errors", () => {
  it("stand in core/README.md with code, status and whether to try again, each once", () => {
    const kinds = ERROR_CLASSES.map(
      ({ kind }) => `${kind.code} ${kind.statusCode} ${kind.isRetryable ? "yes" : "no"}`,
    );
    expect(rows.toSorted()).toEqual(kinds.toSorted());
    expect(new Set(kinds).size).toBe(kinds.length);
  });

  it("have in README.md the status they have", () => {
    const shown = [
      ...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(
        /^\| `([A-Z_]+)` \| (\d{3}) \|/gm,
      ),
    ].map(([, code, status]) => `${code} ${status}`);
    const kinds = ERROR_CLASSES.map(({ kind }) => `${kind.code} ${kind.statusCode}`);
    expect(shown.length).toBeGreaterThan(8);
    expect(kinds).toEqual(expect.arrayContaining(shown));
  });

  it("keep class, message and details over a reply", () => {
    for (const ErrorClass of ERROR_CLASSES) {
      const error = errorFromBody(
        errorBody(new ErrorClass("what happened", { details: { field: "input" } })),
      );
      expect(error).toBeInstanceOf(ErrorClass);
      expect(error).toMatchObject({
        code: ErrorClass.kind.code,
        message: "what happened",
        details: { field: "input" },
      });
    }
  });

  it("keep a code that is not known here, as a newer server sends it", () => {
    const error = errorFromBody({ error: "QUOTA_EXCEEDED", message: "enough", details: { limit: 5 } });
    expect(error).toBeInstanceOf(WindjammerError);
    expect(errorBody(error)).toEqual({ error: "QUOTA_EXCEEDED", message: "enough", details: { limit: 5 } });
  });

  it("name a full disk whatever call met it", () => {
    expect(toWindjammerError(Object.assign(new Error("write"), { code: "ENOSPC" })).code).toBe("DISK_FULL");
    expect(toWindjammerError("odd")).toBeInstanceOf(WindjammerError);
  });
});
