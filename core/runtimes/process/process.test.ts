// The process runtime passes the runtime suite.
import { runtimeSuite } from "../../../test/conformance/runtime.ts";
import { processRuntime } from "./index.ts";
import { processIdentity } from "./process-info.ts";

runtimeSuite({
  name: "process",
  makeRuntime: () => processRuntime(),
  isRunning: async (handle) => (await processIdentity(Number(handle))) !== undefined,
  kill: async (handle) => {
    process.kill(Number(handle), "SIGKILL");
  },
});
