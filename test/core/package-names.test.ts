// Names and versions of packages, as npm knows them.
import { expect, it } from "vitest";
import { isExactVersion, isImageName, isPackageName } from "../../core/package-names.ts";

it.each(["zod", "JSONStream", "@me/b", "~x", "a".repeat(214)])("takes %j for a package", (name) => {
  expect(isPackageName(name)).toBe(true);
});

it.each(["", "-g", ".a", "_a", "@me", "@me/", "a/b", "../a", "a b", "a@1.0.0", "a".repeat(215)])(
  "does not take %j for a package",
  (name) => {
    expect(isPackageName(name)).toBe(false);
  },
);

it.each(["1.2.3", "0.0.0", "1.2.3-rc.1", "1.0.0+build.5", "1.0.0-0a.x+1"])(
  "takes %j for a version",
  (text) => {
    expect(isExactVersion(text)).toBe(true);
  },
);

it.each(["", "1", "1.2", "^1.2.3", "1.2.x", "latest", "01.2.3", "1.2.3-01", "1.2.3-", "v1.2.3", "1.2.3 "])(
  "does not take %j for a version",
  (text) => {
    expect(isExactVersion(text)).toBe(false);
  },
);

it.each(["spam", "registry.example.org:5000/team/spam:3", `spam@sha256:${"a".repeat(64)}`, "sha256:0123"])(
  "takes %j for an image",
  (name) => {
    expect(isImageName(name)).toBe(true);
  },
);

it.each(["", "./nowhere", "/spam", "a/../../containers/json", "a//b", "a/-b", "a b", "-rm", "a/"])(
  "does not take %j for an image",
  (name) => {
    expect(isImageName(name)).toBe(false);
  },
);
