import { expect, it } from "vitest";
import { ERROR_CLASSES } from "../../core/errors.ts";
import * as root from "../../deployers/index.ts";

it("the root of the package has every error class under its name", () => {
  for (const ErrorClass of ERROR_CLASSES) expect(root).toHaveProperty(ErrorClass.name, ErrorClass);
});

it("the root of the package has what the first example imports", () => {
  const { windjammer, connect, startServer, deployFunction, deployOnnxModel } = root;
  for (const each of [windjammer, connect, startServer, deployFunction, deployOnnxModel]) {
    expect(each).toBeTypeOf("function");
  }
  expect([root.functionDeployer.name, root.onnx.name]).toEqual(["function", "onnx"]);
});
