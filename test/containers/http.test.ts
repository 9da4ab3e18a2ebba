// The Node server over HTTP.
import { testContainerServer } from "../conformance/container-server.ts";
import { functionBundle, NODE_SERVER } from "../helpers/container.ts";

testContainerServer({
  name: "Node",
  command: NODE_SERVER,
  platform: "javascript_function",
  sums: (fields) =>
    functionBundle(
      `export const predict = (rows) => rows.map(({ values, factor }) => values.reduce((a, b) => a + b, 0) * factor);`,
      fields,
    ),
  busy: (fields) =>
    functionBundle(
      `import { existsSync } from "node:fs";
      const go = new URL("go", import.meta.url);
      export const predict = (inputs) => {
        if (inputs[0] === "slow") { console.log("computing"); while (!existsSync(go)); }
        return inputs;
      };`,
      fields,
    ),
});
