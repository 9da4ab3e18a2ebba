// The Python server over HTTP.
import { testContainerServer } from "../../conformance/container-server.ts";
import { pythonBundle, pythonServer } from "../../helpers/python.ts";

testContainerServer({
  name: "Python",
  command: pythonServer(),
  platform: "python_function",
  sums: (fields) =>
    pythonBundle(
      `def predict(model, rows):
    return [int(sum(row["values"])) * row["factor"] for row in rows]
`,
      fields,
    ),
  busy: (fields) =>
    pythonBundle(
      `import os

GO = os.path.join(os.path.dirname(__file__), "go")

def predict(model, inputs):
    if inputs[0] == "slow":
        print("computing")
        while not os.path.exists(GO):
            pass
    return inputs
`,
      fields,
    ),
});
