// Deploys the server at a URL, and prints what it answers, or why it is not deployed: https-program.ts URL
import { deployContainer, windjammer, WindjammerError } from "../../../deployers/index.ts";

const [, , url = ""] = process.argv;
await using wj = await windjammer({ port: 0, adminPort: 0 });
try {
  const app = await deployContainer(wj, { name: "m", version: "1", url, readyTimeoutMs: 15_000 });
  console.log(JSON.stringify({ output: await app.predict([1.5, -2]) }));
} catch (error) {
  if (!(error instanceof WindjammerError)) throw error;
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
