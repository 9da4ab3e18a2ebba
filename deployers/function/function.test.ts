import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testDeployer } from "../../test/conformance/deployer.ts";
import { functionCase } from "../../test/helpers/deployer-cases.ts";
import { installed, project } from "../../test/helpers/project.ts";
import { tempFolder } from "../../test/helpers/temp.ts";
import { functionDeployer, type FunctionOptions } from "./index.ts";

testDeployer(functionCase);

async function manifestOf(options: Partial<FunctionOptions>): ReturnType<typeof functionDeployer.bundle> {
  const folder = await project({
    "model.ts":
      'import { version } from "plain"; export const predict = () => [version]; export { predict as classify };',
    ...installed("plain", "1.2.3"),
  });
  const all = { inputType: "json", module: join(folder, "model.ts"), ...options } as const;
  return functionDeployer.bundle(all, await tempFolder(), () => {});
}

describe("the manifest of a function", () => {
  it.each([
    ["ints", "integers", "INT32"],
    ["i", "integers", "INT32"],
    ["float", "floats", "FP32"],
    ["d", "doubles", "FP64"],
    ["doubles", "doubles", "FP64"],
    ["byte", "bytes", "BYTES"],
    ["strs", "strings", "BYTES"],
    ["json", "json", "BYTES"],
  ] as const)("has %s as %s, %s", async (short, long, datatype) => {
    const manifest = await manifestOf({ inputType: short });
    expect(manifest.inputType).toBe(long);
    expect(manifest.contract.inputs[0]?.datatype).toBe(datatype);
    expect(manifest.contract.outputs[0]?.contentType).toBe("json");
  });

  it("has the export, the packages and what the options say of the container", async () => {
    const manifest = await manifestOf({
      export: "classify",
      packages: { other: "2.0.0" },
      allowScripts: { other: true },
      environment: { LEVEL: "3" },
    });
    expect(manifest).toMatchObject({
      loader: "function",
      model: { file: "function.mjs", export: "classify" },
      packages: { other: "2.0.0", plain: "1.2.3" },
      allowScripts: { other: true },
      environment: { LEVEL: "3" },
    });
  });
});
