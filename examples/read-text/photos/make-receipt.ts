// Makes receipt.jpg, a page that looks like a photo: `node examples/read-text/photos/make-receipt.ts [chromium]`.
// The picture is in the repository, since other fonts and other versions of Chromium give other pixels.
import { launch } from "puppeteer-core";

const LINES = [
  ["THE WINDJAMMER CAFE", ""],
  ["12 Harbour Street", ""],
  ["2 Flat white", "7.80"],
  ["1 Carrot cake", "4.20"],
  ["1 Fish and chips", "13.50"],
  ["Service 10%", "2.55"],
  ["TOTAL EUR", "28.05"],
  ["Thank you, come again!", ""],
];
const rows = LINES.map(([what, price]) => `<p><span>${what}</span><span>${price}</span></p>`).join("");
const html = `<style>
  body { margin: 0; width: 900px; height: 1000px; overflow: hidden; perspective: 1800px;
    background: repeating-linear-gradient(93deg, #6b4a2e 0 41px, #75522f 41px 90px, #5f4128 90px 128px); }
  main { position: absolute; left: 150px; top: 70px; width: 560px; padding: 30px 34px; background: #f3efe6;
    font: 38px/1.0 "DejaVu Sans Mono", monospace; word-spacing: 3px; color: #2a2a33;
    transform: rotateX(9deg) rotateY(-7deg) rotate(-5deg); filter: blur(0.7px);
    box-shadow: 14px 22px 40px #000a; }
  p { display: flex; justify-content: space-between; margin: 46px 0; white-space: pre; }
  p:first-child, p:nth-child(2), p:last-child { justify-content: center; }
  div { position: absolute; inset: 0; }
  .light { background: radial-gradient(circle at 25% 15%, #fff3, #0000 45%, #0008 110%); }
</style>
<main>${rows}</main>
<div class="light"></div>
<svg width="900" height="1000" style="position: absolute; inset: 0; opacity: 0.16"><filter id="grain"><feTurbulence baseFrequency=".8" seed="7"/>
<feColorMatrix type="saturate" values="0"/></filter><rect width="100%" height="100%" filter="url(#grain)"/></svg>`;

const browser = await launch({
  executablePath: process.argv[2] ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 900, height: 1000 });
  await page.setContent(html);
  const path = new URL("receipt.jpg", import.meta.url).pathname;
  await page.screenshot({ path, type: "jpeg", quality: 72 });
} finally {
  await browser.close();
}
