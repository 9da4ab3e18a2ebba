// Every shipped policy keeps to the contract.
import { batchingPolicy } from "../../../../core/query/batching/index.ts";
import { batchingPolicySuite } from "../../../conformance/batching-policy.ts";

batchingPolicySuite("slo", () => batchingPolicy({ policy: "slo", maxBatchSize: 32 }), {
  maxBatchSize: 32,
  mayWait: false,
});
batchingPolicySuite("fixed", () => batchingPolicy({ policy: "fixed", maxBatchSize: 32, maxDelayMs: 10 }), {
  maxBatchSize: 32,
  mayWait: true,
});
batchingPolicySuite(
  "fixed without delay",
  () => batchingPolicy({ policy: "fixed", maxBatchSize: 32, maxDelayMs: 0 }),
  { maxBatchSize: 32, mayWait: false },
);
batchingPolicySuite("aimd", () => batchingPolicy({ policy: "aimd", maxBatchSize: 32 }), {
  maxBatchSize: 32,
  mayWait: false,
});
batchingPolicySuite("none", () => batchingPolicy({ policy: "none" }), { maxBatchSize: 1, mayWait: false });
