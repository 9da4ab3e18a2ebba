// Which version a model becomes whose user names none.
import { describe, expect, test } from "vitest";
import { chooseVersion, nextNumber } from "../../../../core/cli/deploying/choose-version.ts";
import type { Version } from "../../../../core/types.ts";
import { testVersion } from "../../../helpers/versions.ts";

function stored(version: string, bundle: string, createdAt = "2026-01-01T00:00:00.000Z"): Version {
  return { ...testVersion({}, version), bundle, createdAt };
}

describe("chooseVersion", () => {
  test("begins with 1, and goes on from the highest whole number", () => {
    expect(chooseVersion({ versions: [], current: undefined }, "a", {})).toBe("1");
    const versions = [stored("3", "x"), stored("v9", "y"), stored("2026-01-31", "z")];
    expect(chooseVersion({ versions, current: "v9" }, "a", {})).toBe("4");
    expect(nextNumber([{ version: "blue" }])).toBe("1");
  });

  test("takes the one that has the content: the current one first, else the newest", () => {
    const versions = [stored("1", "a"), stored("2", "a", "2026-01-02T00:00:00.000Z"), stored("3", "b")];
    expect(chooseVersion({ versions, current: "1" }, "a", {})).toBe("1");
    expect(chooseVersion({ versions, current: "3" }, "a", {})).toBe("2");
  });

  test("takes another number for settings that cannot change while it serves, and only then", () => {
    const versions = [stored("1", "a")];
    expect(chooseVersion({ versions, current: "1" }, "a", { memoryMb: 512 })).toBe("2");
    expect(chooseVersion({ versions, current: "1" }, "a", { replicas: 3 })).toBe("1");
    expect(
      chooseVersion({ versions: [...versions, stored("2", "b")], current: "2" }, "a", { memoryMb: 512 }),
    ).toBe("1");
  });
});
