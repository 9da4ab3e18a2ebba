// Tidies its heap, and prints what is left: whether garbage, and what was held, is there, and where there is a `gc`.
import { createContext, runInContext } from "node:vm";
import { tidyHeap } from "../../containers/lean-start.ts";

const held = { bytes: new Uint8Array(1024) };
const [kept, garbage] = [new WeakRef(held), new WeakRef({ bytes: new Uint8Array(1024) })];
// What a WeakRef was made of lives until the end of the turn.
await new Promise(setImmediate);
tidyHeap();
const left = {
  garbage: garbage.deref() !== undefined,
  held: kept.deref() === held,
  gc: [typeof globalThis.gc, runInContext("typeof gc", createContext())],
};
process.stdout.write(JSON.stringify(left));
