// Declared packages: what the user mistypes is his option's fault, said before anything is bundled or sent.
import { describe, expect, test } from "vitest";
import { checkDeployOptions } from "../../core/client/deploy-options.ts";
import { InvalidOptionsError } from "../../core/index.ts";
import { functionDeployer } from "../../deployers/function/index.ts";
import { checkExact } from "../../deployers/packages.ts";

describe("declared packages", () => {
  test.each(["1.2.3-01", "^1.2.3", "1.2", "01.2.3", "latest", "v1.2.3", `1.2.3-${"a".repeat(256)}`])(
    "version %s is not exact, and the option is named",
    async (version) => {
      const error = await checkExact({ "no-such-package": version }, "/").catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InvalidOptionsError);
      expect(error).toMatchObject({ details: { option: "packages.no-such-package" } });
    },
  );

  test.each(["1.2.3", "1.2.3-rc.1", "1.2.3-0", "1.2.3+build.01"])("version %s is exact", async (version) => {
    await expect(checkExact({ "no-such-package": version }, "/")).resolves.toBeUndefined();
  });

  test.each(["packages", "allowScripts"])("a name in %s that no package has is refused", (option) => {
    for (const name of ["-g", ".hidden", "a/b", "@Scope/a", "a b", "https://example.com/a.tgz"]) {
      const options = { name: "m", version: "1", inputType: "json", module: "m.js" } as const;
      const value = option === "packages" ? { [name]: "1.0.0" } : { [name]: true };
      const check = (): unknown => checkDeployOptions(functionDeployer, { ...options, [option]: value });
      expect(check).toThrow(InvalidOptionsError);
      expect(check).toThrow(`${option}.${name}`);
    }
  });
});
