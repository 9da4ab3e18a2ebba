// Clipper's management API over models of our own: links, versions and deletion of what a runtime serves.
import { expect, test } from "vitest";
import { connect, deployFunction } from "../../deployers/index.ts";
import { modelOf, openClipper } from "../helpers/clipper-server.ts";

test("an application of Clipper's serves a deployed function, changes its version, and falls back to its default", async () => {
  const lab = await openClipper();
  await using wj = await connect(lab.server.adminUrl);
  const deploy = (version: string, sign: number): Promise<unknown> =>
    deployFunction(wj, {
      name: "sum",
      version,
      application: null,
      inputType: "doubles",
      fn: (inputs) => inputs.map((xs) => sign * xs.reduce((sum, x) => sum + x, 0)),
    });
  await deploy("1", 1);
  const application = {
    name: "app",
    input_type: "d",
    default_output: "-1.0",
    latency_slo_micros: 10_000_000,
  };
  expect(await lab.admin("add_app", application)).toMatch(/^200 /);
  expect(await lab.admin("add_model_links", { app_name: "app", model_names: ["sum"] })).toMatch(/^200 /);
  const predict = (): Promise<string> => lab.query("/app/predict", { input: [1.5, 2] });
  expect(await predict()).toContain('"output":3.5,"default":false');
  expect(await lab.admin("get_all_containers", { verbose: false })).toMatch(/^200 \["sum:1:\d+"\]$/);
  expect(await lab.admin("get_model", { model_name: "sum", model_version: "1" })).toContain(
    '"container_name":"windjammer/function"',
  );

  await deploy("2", -1);
  expect(await predict()).toContain('"output":-3.5,');
  const back = await lab.admin("set_model_version", { model_name: "sum", model_version: "1" });
  expect(back).toBe("200 Successfully set model with name 'sum' to version '1'");
  expect(await predict()).toContain('"output":3.5,');

  // Over to a container of Clipper's, and back.
  expect(await lab.admin("add_model", modelOf("sum", "3", "doubles"))).toMatch(/^200 /);
  expect(await predict()).toContain('"output":-1.0,"default":true');
  lab.container({ model: "sum", version: "3", inputType: 3, predict: (all) => all.map(() => "42") });
  await lab.untilContainers(1);
  expect(await predict()).toContain('"output":42,');
  await expect(wj.scale("sum", 2)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  expect(await lab.admin("set_model_version", { model_name: "sum", model_version: "2" })).toMatch(/^200 /);
  expect(await predict()).toContain('"output":-3.5,');
  expect(await lab.query("/app/predict", { input: [1], version: "3" })).toContain('"output":42,');

  const current = { model_name: "sum", model_version: "2" };
  expect(await lab.admin("delete_versioned_model", current)).toMatch(/^200 Successfully deleted/);
  expect(await predict()).toContain('"output":-1.0,"default":true');
  expect(await lab.admin("delete_versioned_model", current)).toBe(
    "400 model with name 'sum' and version '2' is already marked as 'invalid'",
  );
});
