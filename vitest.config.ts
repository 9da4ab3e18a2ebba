import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Tests that start child processes again and again: seconds each, so not part of `test:fast`. */
const PROCESS_TESTS = [
  "core/runtimes/process/*.test.ts",
  "test/containers/**/*.test.ts",
  "test/core/check/*.test.ts",
  "test/core/cli/*.test.ts",
  "test/core/deploy/bundle-store.test.ts",
  "test/core/registry/sqlite-store.test.ts",
  "test/core/runtimes/**/*.test.ts",
  "test/core/workers/main.test.ts",
  "test/core/workers/workers.test.ts",
];
/** Tests that install packages, run whole servers, or measure nothing but patience; one at a time. */
const E2E_TESTS = ["test/e2e/**/*.test.ts"];
/** Tests that need a Docker engine, one at a time; without one they are skipped, and say so. */
const DOCKER_TESTS = ["core/runtimes/docker/*.test.ts", "test/docker/**/*.test.ts"];

const config: ViteUserConfig = defineConfig({
  // Express's dependencies are CommonJS: without "import" here they get the form that `require` expects.
  resolve: { conditions: ["windjammer-source", "node"] },
  ssr: { resolve: { conditions: ["windjammer-source", "node"] } },
  test: {
    // Onnxruntime's telemetry stays off in every process that the tests start, and TensorFlow's log short; pip asks no
    // index twice that did not answer.
    env: { ORT_DISABLE_TELEMETRY: "1", TF_CPP_MIN_LOG_LEVEL: "3", PIP_RETRIES: "0" },
    maxWorkers: 3,
    // How long a test may take is no part of what it proves: these bounds end what hangs, also where the machine is slow or
    // stands still for seconds. What is polled comes at once, mostly.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 90_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: "fast",
          include: ["{core,deployers,test}/**/*.test.ts"],
          exclude: ["dist/**", "node_modules/**", ...PROCESS_TESTS, ...E2E_TESTS, ...DOCKER_TESTS],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          expect: { poll: { timeout: 30_000 } },
        },
      },
      {
        extends: true,
        test: { name: "processes", include: PROCESS_TESTS },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: E2E_TESTS,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: "docker",
          include: DOCKER_TESTS,
          globalSetup: "test/docker/engine-needed.ts",
          fileParallelism: false,
        },
      },
    ],
  },
});

export default config;
