// The suites every deployer passes, as an outsider's has them (core/conformance), under vitest.
import { afterAll, describe, it } from "vitest";
import {
  bundleChecks,
  servingChecks,
  type DeployerCase,
  type ServedCase,
} from "../../core/conformance/index.ts";

export type { ServedCase } from "../../core/conformance/index.ts";

/** The contract of `Deployer`: bundles, without a server. */
export function testDeployer<Options extends object>(test: DeployerCase<Options>): void {
  describe(`the ${test.deployer.name} deployer`, () => {
    for (const { name, run } of bundleChecks(test)) it(name, run);
  });
}

/** How a deployed model serves: on a running Windjammer, with real model containers. */
export function testDeployments<Options extends object>(test: ServedCase<Options>): void {
  describe(`what the ${test.deployer.name} deployer deploys`, () => {
    const { checks, close } = servingChecks(test);
    for (const { name, run } of checks) it(name, run);
    afterAll(close);
  });
}
