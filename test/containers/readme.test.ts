// The page for authors in other languages: its server runs and does what the frontend needs.
import { spawn, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { ENV, ERROR_TENSOR, HEADERS, PATHS } from "../../containers/protocol.ts";
import { encodeHeader } from "../../containers/tensors.ts";

const page = await readFile(new URL("../../containers/README.md", import.meta.url), "utf8");

test("the page names every variable, header and path", () => {
  for (const name of [...Object.values(ENV), ...Object.values(HEADERS), ERROR_TENSOR])
    expect(page).toContain(`\`${name}\``);
  for (const path of [PATHS.server, PATHS.live, PATHS.ready]) expect(page).toContain(path);
});

const hasPython = spawnSync("python3", ["--version"]).status === 0;

test.skipIf(!hasPython)("the Python server answers as the page says (skipped without python3)", async () => {
  const [, code = ""] = /```python\n([\s\S]*?)```/.exec(page) ?? [];
  // Port 0 picks a free one; the server itself does not say which.
  const printing = code.replace(
    /^(ThreadingHTTPServer\(.*\))\.serve_forever\(\)$/m,
    "server = $1\nprint(server.server_address[1], flush=True)\nserver.serve_forever()",
  );
  const server = spawn("python3", ["-c", printing], {
    env: { PATH: process.env["PATH"], PORT: "0" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    const port = await new Promise<string>((resolve) =>
      server.stdout.setEncoding("utf8").once("data", (text: string) => resolve(text.trim())),
    );
    const url = `http://127.0.0.1:${port}`;
    expect(await (await fetch(`${url}${PATHS.ready}`)).json()).toEqual({ ready: true });
    expect(await (await fetch(`${url}${PATHS.model("model")}`)).json()).toMatchObject({
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
    });
    const header = encodeHeader({
      inputs: [{ name: "x", datatype: "FP32", shape: [2, 2], parameters: { binary_data_size: 16 } }],
    });
    const reply = await fetch(`${url}${PATHS.infer("model")}`, {
      method: "POST",
      headers: { [HEADERS.inferenceHeaderLength]: `${header.byteLength}` },
      body: Buffer.concat([header, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)]),
    });
    const body = Buffer.from(await reply.arrayBuffer());
    const length = Number(reply.headers.get(HEADERS.inferenceHeaderLength));
    expect(JSON.parse(body.subarray(0, length).toString("utf8"))).toMatchObject({
      outputs: [{ name: "sum", datatype: "FP32", shape: [2], parameters: { binary_data_size: 8 } }],
    });
    expect(Array.from(new Float32Array(Uint8Array.from(body.subarray(length)).buffer))).toEqual([3, 7]);
  } finally {
    server.kill();
  }
});
