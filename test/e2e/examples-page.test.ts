// The page of examples/super-resolution in a real browser: an image goes in, its double comes out; what is none is said.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { launch } from "puppeteer-core";
import { describe, expect, onTestFinished, test } from "vitest";
import { tempFolder } from "../helpers/temp.ts";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const browser = BROWSERS.find((path) => existsSync(path));
const root = new URL("../..", import.meta.url).pathname;

/** Starts the example with its page, and gives the page's address. It has ended, by itself, when the test has. */
async function startPage(): Promise<string> {
  const args = ["examples/run.ts", "super-resolution", "--page", "--port", "0"];
  const example = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(async () => {
    if (example.exitCode !== null || example.signalCode !== null) return;
    example.kill("SIGTERM");
    const [code] = (await once(example, "exit")) as [number | null];
    expect(code).toBe(0);
  });
  for await (const chunk of example.stdout) {
    const url = /http:\/\/\S+/.exec(String(chunk))?.[0];
    if (url !== undefined) return url;
  }
  throw new Error("the example ended without a page");
}

describe.skipIf(browser === undefined)("the page of examples/super-resolution, in Chromium", () => {
  test("doubles an image, and says what is wrong with a file that is none", async () => {
    const url = await startPage();
    // Chromium's own sandbox wants a user that is not root.
    const chromium = await launch({
      executablePath: browser ?? "",
      args: ["--no-sandbox", "--disable-dev-shm-usage"],
    });
    onTestFinished(() => chromium.close());
    const page = await chromium.newPage();
    const thrown: string[] = [];
    page.on("pageerror", (error) => thrown.push(String(error)));
    await page.goto(url);
    const input = await page.waitForSelector("input[type=file]");
    await (input as unknown as FileInput).uploadFile(join(root, "examples/super-resolution/coffee.png"));
    const caption = await page.waitForSelector("::-p-text(384 × 384 pixels)", { timeout: 60_000 });
    expect(await caption?.evaluate((element) => element.textContent)).toMatch(
      /^384 × 384 pixels, in \d+\.\d s$/,
    );

    const text = join(await tempFolder(), "text.png");
    await writeFile(text, "no image");
    await (input as unknown as FileInput).uploadFile(text);
    const alert = await page.waitForSelector("[role=alert]:not(:empty)", { timeout: 60_000 });
    expect(await alert?.evaluate((element) => element.textContent)).toMatch(/unsupported image format/);
    expect(thrown).toEqual([]);
  });
});

/** What puppeteer's handle of a file input can do; its own type hangs on the DOM's. */
interface FileInput {
  uploadFile(...paths: string[]): Promise<void>;
}
