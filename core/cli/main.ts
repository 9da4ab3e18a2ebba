#!/usr/bin/env node
// Entry of the `windjammer` command. Old Nodes must be able to read this file, so it only looks at the version.
const major = Number(process.versions.node.split(".")[0]);

if (major < 24) {
  process.stderr.write(
    "windjammer: Node " +
      process.versions.node +
      " is too old; it needs Node 24 or newer (https://nodejs.org, or `nvm install 24`)\n",
  );
  process.exitCode = 1;
} else {
  import("./program.ts").then(
    ({ run }) => run(process.argv.slice(2)),
    (error: unknown) => {
      process.stderr.write("windjammer: " + String(error) + "\n");
      process.exitCode = 1;
    },
  );
}
