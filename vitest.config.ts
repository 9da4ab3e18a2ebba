import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Onnxruntime's telemetry stays off in every process that the tests start. */
const env = { ORT_DISABLE_TELEMETRY: "1" };

const config: ViteUserConfig = defineConfig({
  resolve: { conditions: ["windjammer-source", "node"] },
  ssr: { resolve: { conditions: ["windjammer-source", "node"] } },
  test: {
    env,
    exclude: ["dist/**", "node_modules/**"],
    projects: [
      {
        extends: true,
        test: {
          name: "fast",
          include: [
            "{core,deployers,containers}/**/*.test.ts",
            "test/{core,containers,deployers}/**/*.test.ts",
            "test/*.test.ts",
          ],
          testTimeout: 20_000,
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});

export default config;
