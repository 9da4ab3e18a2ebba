// The suite every state store passes.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ShuttingDownError } from "../../core/errors.ts";
import { keyOf, type Change, type Store } from "../../core/registry/store.ts";
import type { JsonValue } from "../../containers/protocol.ts";
import { aDeployment, anApplication, anEvent, aVersion } from "../core/registry/records.ts";

/** A place that holds the records of stores opened on it. */
export interface StorePlace {
  store(): Store;
  dispose(): Promise<void>;
}

export interface StoreAbilities {
  /** Records outlive the store's object. */
  readonly isDurable: boolean;
}

function putApplication(name: string, defaultOutput: JsonValue = null): Change {
  return { put: "applications", record: anApplication(name, { defaultOutput }) };
}

const WITHOUT_DURABILITY = "keeps its records only as long as the object";

export function testStore(makePlace: () => Promise<StorePlace>, abilities: StoreAbilities): void {
  describe("store contract", () => {
    let place: StorePlace;
    let store: Store;

    beforeEach(async () => {
      place = await makePlace();
      store = place.store();
    });

    afterEach(async () => {
      await store.close();
      await place.dispose();
    });

    /** What a new opening sees. */
    async function reopened(): Promise<Awaited<ReturnType<Store["open"]>>> {
      await store.close();
      if (abilities.isDurable) store = place.store();
      return store.open();
    }

    test("begins empty", async () => {
      const state = await store.open();
      expect(Object.values(state).map((records) => records.size)).toEqual([0, 0, 0, 0, 0]);
      expect(await store.events("nothing")).toEqual([]);
    });

    test("reads back every kind of record under its key", async () => {
      await store.open();
      const version = aVersion("digits", "1");
      const link = { application: "digits", model: "digits", weight: 1 };
      await store.commit([
        putApplication("digits"),
        { put: "models", record: { name: "digits", currentVersion: "1" } },
        { put: "versions", record: version },
        { put: "links", record: link },
        { put: "deployments", record: aDeployment("d1") },
      ]);

      const state = await reopened();

      expect(state.applications.get("digits")).toEqual(anApplication("digits", { defaultOutput: null }));
      expect(state.models.get("digits")).toEqual({ name: "digits", currentVersion: "1" });
      expect(state.versions.get(keyOf("versions", version))).toEqual(version);
      expect(state.links.get("digits/digits")).toEqual(link);
      expect(state.deployments.get("d1")).toEqual(aDeployment("d1"));
    });

    test("replaces, deletes, and keeps the order in which records were first put", async () => {
      await store.open();
      await store.commit([putApplication("b"), putApplication("a"), putApplication("c")]);
      await store.commit([putApplication("b", "new"), { delete: "applications", key: "a" }]);

      const { applications } = await reopened();

      expect([...applications.keys()]).toEqual(["b", "c"]);
      expect(applications.get("b")?.defaultOutput).toBe("new");
    });

    test("takes the changes of one commit in order", async () => {
      await store.open();
      await store.commit([
        putApplication("a"),
        { delete: "applications", key: "a" },
        { delete: "applications", key: "b" },
        putApplication("b"),
      ]);
      expect([...(await reopened()).applications.keys()]).toEqual(["b"]);
    });

    test("deletes a key that is not there without a complaint", async () => {
      await store.open();
      await store.commit([{ delete: "versions", key: "digits/9" }]);
      await store.commit([]);
      expect((await reopened()).versions.size).toBe(0);
    });

    test("keeps nothing of a commit of which one record cannot be stored", async () => {
      await store.open();
      const circular: JsonValue[] = [];
      circular.push(circular);
      await expect(store.commit([putApplication("a"), putApplication("b", circular)])).rejects.toThrow(
        /circular/u,
      );

      await store.commit([putApplication("c")]);
      expect([...(await reopened()).applications.keys()]).toEqual(["c"]);
    });

    test("keeps what was committed when the caller changes its object later", async () => {
      await store.open();
      const output = ["as committed"];
      await store.commit([putApplication("a", output)]);
      output[0] = "changed later";
      expect((await reopened()).applications.get("a")?.defaultOutput).toEqual(["as committed"]);
    });

    test("keeps Unicode, NUL, lone surrogates and extreme numbers", async () => {
      await store.open();
      const output = ["שלום 😀 \u0000 \uD800 \u2028", -0.1, 1.7976931348623157e308, 5e-324, 2 ** 53];
      await store.commit([putApplication("a", output)]);
      expect((await reopened()).applications.get("a")?.defaultOutput).toEqual(output);
    });

    test("keeps a record of 8 MB", async () => {
      await store.open();
      const output = "x".repeat(8_000_000);
      await store.commit([putApplication("a", output)]);
      expect((await reopened()).applications.get("a")?.defaultOutput).toBe(output);
    });

    test("does not mix commits that are made at the same time", async () => {
      await store.open();
      const names = Array.from({ length: 100 }, (_, index) => `app-${index}`);
      await Promise.all(
        names.map((name) =>
          store.commit([
            putApplication(name, name),
            putApplication("last", name),
            { delete: "links", key: name },
          ]),
        ),
      );

      const { applications } = await reopened();

      expect(applications.size).toBe(101);
      for (const name of names) expect(applications.get(name)?.defaultOutput).toBe(name);
    });

    test("returns a deployment's events in the order of appending, apart from those of others", async () => {
      await store.open();
      await Promise.all([
        ...Array.from({ length: 50 }, (_, index) =>
          store.appendEvent("d1", anEvent(index + 1, `one ${index}`)),
        ),
        store.appendEvent("d2", anEvent(1, "שני")),
      ]);
      await reopened();

      const events = await store.events("d1");

      expect(events.map((event) => event.sequence)).toEqual(
        Array.from({ length: 50 }, (_, index) => index + 1),
      );
      expect(events[49]).toEqual(anEvent(50, "one 49"));
      expect(await store.events("d2")).toEqual([anEvent(1, "שני")]);
    });

    test("drops a deployment's events with it, and no others", async () => {
      await store.open();
      await store.commit([{ put: "deployments", record: aDeployment("d1") }]);
      await store.appendEvent("d1", anEvent(1));
      await store.appendEvent("d2", anEvent(1));
      await store.commit([
        { delete: "deployments", key: "d1" },
        { delete: "applications", key: "d2" },
      ]);
      expect(await store.events("d1")).toEqual([]);
      expect(await store.events("d2")).toHaveLength(1);
    });

    test("can be closed twice, and refuses work from then on", async () => {
      await store.open();
      await store.close();
      await store.close();
      await expect(store.commit([putApplication("a")])).rejects.toThrow(ShuttingDownError);
      await expect(store.appendEvent("d1", anEvent(1))).rejects.toThrow(ShuttingDownError);
      await expect(store.events("d1")).rejects.toThrow(ShuttingDownError);
    });

    test("can be closed before it was opened", async () => {
      await store.close();
      await expect(store.commit([])).rejects.toThrow(ShuttingDownError);
    });

    test.skipIf(!abilities.isDurable)(
      `gives another object all that was committed${abilities.isDurable ? "" : ` (skipped: ${WITHOUT_DURABILITY})`}`,
      async () => {
        await store.open();
        await store.commit([putApplication("a"), putApplication("b")]);
        await store.appendEvent("d1", anEvent(1));
        await store.close();

        const other = place.store();
        try {
          expect([...(await other.open()).applications.keys()]).toEqual(["a", "b"]);
          expect(await other.events("d1")).toEqual([anEvent(1)]);
        } finally {
          await other.close();
        }
      },
    );
  });
}
