// The folder with a working tfjs-node that test/tensorflow/tfjs-node.sh makes; the tests of the native path need it.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const FOLDER: string =
  process.env["WINDJAMMER_TFJS_NODE"] ??
  join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "windjammer-test", "tfjs-node");

const PACKAGE: string = join(FOLDER, "node_modules", "@tensorflow", "tfjs-node");

/** Its folder has been made, whole: the addon is compiled last. */
export const hasTfjsNode: boolean =
  existsSync(join(PACKAGE, "lib", "napi-v8", "tfjs_binding.node")) ||
  process.env["WINDJAMMER_REQUIRE_TFJS_NODE"] === "1";

/** A folder whose node_modules hold @tensorflow/tfjs-node. */
export const TFJS_NODE_FOLDER: string = FOLDER;

/** For names of suites: why they are skipped, if they are. */
export const NATIVE: string = hasTfjsNode
  ? "with the native library"
  : "with the native library (skipped: no tfjs-node; test/tensorflow/tfjs-node.sh makes one)";
