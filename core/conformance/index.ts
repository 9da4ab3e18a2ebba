// The conformance suite of deployers (`windjammer/conformance`): checks that any test runner can run.
export { bundleChecks } from "./bundles.ts";
export { servingChecks, type ServingChecks } from "./serving.ts";
export type { Check, DeployerCase, ServedCase } from "./case.ts";
