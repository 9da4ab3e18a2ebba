// What npm and the install scripts of packages get of the server's environment, by a program in npm's place.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { npmInstall } from "../../../../core/runtimes/process/npm.ts";

/** Writes its environment into a file of the name of its command. */
const NPM = `
const { writeFileSync } = require("node:fs");
writeFileSync(process.argv[2] + ".json", JSON.stringify(process.env));`;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "windjammer-npm-"));
  await writeFile(join(folder, "npm-cli.js"), NPM);
  vi.stubEnv("npm_execpath", join(folder, "npm-cli.js"));
  vi.stubEnv("WINDJAMMER_TOKEN", "a token of the management API");
  vi.stubEnv("DATABASE_PASSWORD", "a secret of the application");
  vi.stubEnv("NPM_TOKEN", "for .npmrc");
  vi.stubEnv("npm_config_registry", "https://registry.example");
  vi.stubEnv("npm_config_global", "true");
  vi.stubEnv("HTTPS_PROXY", "http://proxy.example");
  vi.stubEnv("no_proxy", "localhost");
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function environmentOf(command: string): Promise<Record<string, string>> {
  return JSON.parse(await readFile(join(folder, `${command}.json`), "utf8")) as Record<string, string>;
}

it("gives npm the user's environment without the server's own, and install scripts hardly any", async () => {
  await npmInstall(
    { hasLockfile: false, scripts: ["a"] },
    { folder, signal: new AbortController().signal, onLine: () => undefined },
  );
  const network = {
    npm_config_registry: "https://registry.example",
    HTTPS_PROXY: "http://proxy.example",
    no_proxy: "localhost",
    PATH: expect.any(String) as unknown,
  };
  const install = await environmentOf("install");
  expect(install).toMatchObject({
    ...network,
    NPM_TOKEN: "for .npmrc",
    DATABASE_PASSWORD: expect.anything(),
  });
  const scripts = await environmentOf("rebuild");
  expect(scripts).toMatchObject(network);
  for (const name of ["NPM_TOKEN", "DATABASE_PASSWORD"]) expect(scripts).not.toHaveProperty(name);
  for (const environment of [install, scripts]) {
    expect(environment).not.toHaveProperty("WINDJAMMER_TOKEN");
    expect(environment).not.toHaveProperty("npm_config_global");
  }
});
