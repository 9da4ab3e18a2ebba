// What may stand in a requirements.txt, and what is refused with its line and the way out.
import { describe, expect, test } from "vitest";
import { packageKey, parseRequirements } from "../../core/python-requirements.ts";

function lines(text: string): readonly string[] | string {
  const parsed = parseRequirements(text);
  return "problem" in parsed ? parsed.problem : parsed.requirements.map(({ line }) => line);
}

describe("a requirements.txt", () => {
  test.each([
    ["", []],
    ["\u{feff}# only comments\r\n\r\n   # and blanks\n", []],
    ["numpy==2.4.6", ["numpy==2.4.6"]],
    ["torch == 2.13.0+cpu  # without CUDA\nPillow==11.0.0", ["torch==2.13.0+cpu", "Pillow==11.0.0"]],
    ["uvicorn[standard, extra]==0.30.1", ["uvicorn[standard,extra]==0.30.1"]],
    ['tomli==2.0.1; python_version < "3.11"', ['tomli==2.0.1 ; python_version < "3.11"']],
    [
      `six==1.16.0 \\\n    --hash=sha256:${"a".repeat(64)} \\\n    --hash=sha256:${"b".repeat(64)}\n`,
      [`six==1.16.0 --hash=sha256:${"a".repeat(64)} --hash=sha256:${"b".repeat(64)}`],
    ],
    [
      "a==1!2.0rc1.post3.dev4\nb==1.0-1\nc==v1.0.ALPHA_2",
      ["a==1!2.0rc1.post3.dev4", "b==1.0-1", "c==v1.0.ALPHA_2"],
    ],
  ])("%j is read", (text, expected) => {
    expect(lines(text)).toEqual(expected);
  });

  test.each([
    ["six", 'line 1: "six" needs an exact version, such as six==1.2.3; `pip freeze`'],
    ["numpy==2.4.6\n\nsix>=1.16", 'line 3: "six>=1.16" needs an exact version'],
    ["six==1.*", "needs an exact version"],
    ["six==1.0,<2", "needs an exact version"],
    ["six===1.0", "needs an exact version"],
    ["six~=1.0", "needs an exact version"],
    ["six==1.0 extra", "needs an exact version"],
    ["six==$(id)", "needs an exact version"],
    ["six @ https://example.org/six.whl", "needs an exact version"],
    ["-r other.txt", "is an option of pip"],
    ["--index-url https://example.org", "PIP_INDEX_URL"],
    ["-e .", "is an option of pip"],
    ["./six-1.0.whl", "is not the name of a package"],
    ["git+https://example.org/six", "needs an exact version"],
    ["six==1.0 --install-option=x", "is not a hash such as --hash=sha256:"],
    ["six==1.0 --hash=md5:00", "is not a hash"],
    ["six==1.0; $(id)", "is not a marker"],
    ['six==1.0; python_version < "4" -C build=x', "is not a marker"],
    [`${"x".repeat(300)}==1.0`, "is not the name of a package"],
    [Array.from({ length: 1001 }, (_, index) => `p${index}==1`).join("\n"), "more than 1000 packages"],
  ])("%j is refused", (text, message) => {
    expect(lines(text)).toContain(message);
  });

  test.each(["(".repeat(100_000), `a==1${" ".repeat(100_000)}x`, "a==1 \\\n".repeat(20_000)])(
    "of endless lines is refused before any pattern sees them",
    (text) => {
      expect(lines(text)).toContain("it has more than 10000 characters");
    },
  );

  test("names one package in several ways", () => {
    expect(packageKey("Scikit_Learn")).toBe(packageKey("scikit-learn"));
  });
});
