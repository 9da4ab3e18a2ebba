// The memory store passes the suite of stores.
import { MemoryStore } from "../../../core/registry/memory-store.ts";
import { testStore } from "../../conformance/store.ts";

testStore(
  async () => {
    const store = new MemoryStore();
    return { store: () => store, dispose: () => store.close() };
  },
  { isDurable: false },
);
