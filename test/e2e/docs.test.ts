// The page at /docs in a real browser: it shows an application, sends a request from there, and shows the answer.
import { existsSync } from "node:fs";
import { launch, type Page } from "puppeteer-core";
import { describe, expect, onTestFinished, test } from "vitest";
import { valueManifest, fakes, jsonOutputs } from "../core/query/fakes.ts";
import { startTestServer } from "../core/frontend/query-client.ts";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const browser = BROWSERS.find((path) => existsSync(path));

describe.skipIf(browser === undefined)("the page at /docs, in Chromium", () => {
  test("shows the application, tries a prediction and shows its answer, with nothing from elsewhere", async () => {
    const parts = fakes(valueManifest("doubles"), {}, (query) => {
      query.settle({ kind: "ok", outputs: jsonOutputs(["41.5"]), index: 0 });
    });
    await using server = await startTestServer(parts);
    // Chromium's own sandbox wants a user that is not root.
    const chromium = await launch({
      executablePath: browser ?? "",
      args: ["--no-sandbox", "--disable-dev-shm-usage"],
    });
    onTestFinished(() => chromium.close());
    const page = await chromium.newPage();
    const hosts = new Set<string>();
    const complaints: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith("data:")) hosts.add(new URL(request.url()).origin);
    });
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(`${server.url}/docs`);
    await page.waitForSelector("::-p-text(Application digits)");
    const answers: unknown[] = [];
    for (const operation of ["predict-postDigitsPredict", "Open Inference Protocol-postV2ModelsDigitsInfer"])
      answers.push(await tryOut(page, operation));
    expect(answers).toMatchObject([
      { output: 41.5, default: false },
      { model_name: "digits", outputs: [{ name: "output", datatype: "BYTES", shape: [1], data: ["41.5"] }] },
    ]);
    expect([...hosts]).toEqual([server.url]);
    expect(complaints).toEqual([]);
  });
});

/** Sends the request that the page proposes; gives what it shows of the answer. */
async function tryOut(page: Page, operation: string): Promise<unknown> {
  const place = `[id="operations-${operation.replaceAll(" ", "_")}"]`;
  await (await page.waitForSelector(`${place} .opblock-summary-control`))?.click();
  await (await page.waitForSelector(`${place} .btn.execute`))?.click();
  const shown = await page.waitForSelector(`${place} .live-responses-table .highlight-code code`);
  return JSON.parse((await shown?.evaluate((element) => element.textContent)) ?? "");
}
