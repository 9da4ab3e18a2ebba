// What a worker makes of the replicas that the server's own process tells it of.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { Suspicion } from "../../../core/replicas/pool.ts";
import type { Replica } from "../../../core/replicas/replica.ts";
import { FollowedReplicas } from "../../../core/workers/followed-replicas.ts";
import type { Version } from "../../../core/types.ts";
import { valueManifest, version } from "../query/fakes.ts";

const LOST = "lost its connection";
const LATE: Suspicion = { message: "did not answer", fault: "late" };

function followed(
  turn = 0,
  of: Version = version(valueManifest("json")),
): { replicas: FollowedReplicas; doubts: string[]; changes: () => number } {
  const doubts: string[] = [];
  let changes = 0;
  const replicas = new FollowedReplicas({
    version: of,
    turn,
    senders: 3,
    doubt: ({ id }, why) => void doubts.push(`${id} ${why.message}`),
    onChange: () => void (changes += 1),
  });
  onTestFinished(() => replicas.close());
  return { replicas, doubts, changes: () => changes };
}

const paceOf = (): number => 1;

function reachable(...ids: readonly string[]): Parameters<FollowedReplicas["update"]>[0] {
  const replicas = ids.map((id) => ({
    id,
    address: { socketPath: `/nonexistent/${id}` },
    inferSocket: undefined,
  }));
  return { replicas, startingCount: 0, trouble: undefined };
}

function taken(replicas: FollowedReplicas): Replica {
  const replica = replicas.take(paceOf);
  if (replica === undefined) throw new Error("no replica is free");
  return replica;
}

test("each worker turns to another replica first, and hands none out twice", () => {
  const first = followed(0).replicas;
  const second = followed(1).replicas;
  for (const replicas of [first, second]) replicas.update(reachable("r1", "r2"));
  expect([taken(first).id, taken(first).id, first.take(paceOf)]).toEqual(["r1", "r2", undefined]);
  expect(taken(second).id).toBe("r2");
});

test("a replica that is listed no more gets no batch, and a new one does", () => {
  const { replicas } = followed();
  replicas.update(reachable("r1"));
  replicas.update(reachable("r2"));
  expect(replicas.readyCount).toBe(1);
  expect([taken(replicas).id, replicas.take(paceOf)]).toEqual(["r2", undefined]);
});

test("a doubted replica is out until the server has looked at it, and comes back where it is still listed", async () => {
  const json = version(valueManifest("json"));
  const { replicas, doubts } = followed(0, {
    ...json,
    manifest: { ...json.manifest, container: { kind: "url", urls: ["http://a"] } },
    settings: { ...json.settings, maxInFlight: 6 },
  });
  replicas.update(reachable("r1"));
  const replica = taken(replicas);
  expect([taken(replicas), taken(replicas)]).toEqual([replica, replica]);
  await replicas.suspect(replica, LOST);
  expect(doubts).toEqual(["r1 lost its connection"]);
  expect([replicas.readyCount, replicas.isRecovering, replicas.take(paceOf)]).toEqual([0, true, undefined]);
  // Told of it twice, the server would look twice.
  await replicas.suspect(replica, LOST);
  // Nor does it need to hear that a batch is late there: what becomes of that one is said with the rest.
  const replaced = replicas.replaceSilent(replica, LATE);
  expect(doubts).toHaveLength(1);
  replicas.looked("r1");
  expect([replicas.readyCount, replicas.isRecovering, await replaced]).toEqual([1, false, false]);
  // With what was learned of it, and the batch that it has yet.
  expect([taken(replicas), taken(replicas), replicas.take(paceOf)]).toEqual([replica, replica, undefined]);
});

test("a replica that does not answer here stays where the server knows that it answers others", async () => {
  const { replicas, doubts } = followed();
  replicas.update(reachable("r1"));
  const replica = taken(replicas);
  const replaced = replicas.replaceSilent(replica, LATE);
  expect(doubts).toEqual(["r1 did not answer"]);
  replicas.looked("r1");
  expect([await replaced, replicas.readyCount]).toEqual([false, 1]);
  replicas.release(replica);
  expect(taken(replicas)).toBe(replica);
});

test("a doubted replica that is replaced stays out, and its end is told to those who ask", async () => {
  const { replicas } = followed();
  replicas.update(reachable("r1"));
  const replica = taken(replicas);
  await replicas.suspect(replica, LOST);
  replicas.update({ ...reachable(), startingCount: 1, trouble: "replica r1 exited with code 3" });
  replicas.looked("r1");
  expect([replicas.readyCount, replicas.isRecovering]).toEqual([0, true]);
  expect(replicas.noReplica().message).toContain("replica r1 exited with code 3");
  const line = { at: "", stream: "stderr", text: "out of cheese" } as const;
  replicas.ended("r1", { reason: "exited", exitCode: 3, message: "exited with code 3" }, [line]);
  expect(await replica.running.exited).toMatchObject({ exitCode: 3 });
  expect(replica.running.tail(5)).toEqual([line]);
});

test("an answer that is still on its way when the replica's end is told comes through", async () => {
  const answer = Promise.withResolvers<void>();
  const server = createServer((_, response) => {
    void answer.promise.then(() => response.end("{}"));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  const { replicas } = followed();
  const address = { host: "127.0.0.1", port };
  const shared = { replicas: [{ id: "r1", address, inferSocket: undefined }], startingCount: 0 };
  replicas.update({ ...shared, trouble: undefined });
  const replica = taken(replicas);
  const asked = Promise.withResolvers<number | undefined>();
  const call = { path: "/", body: Buffer.from("{}"), headerLength: undefined, deadlineMs: 60_000 };
  replica.send(call, (_, reply) => asked.resolve(reply?.statusCode));
  replicas.ended("r1", { reason: "stopped", message: "was stopped" }, []);
  answer.resolve();
  expect(await asked.promise).toBe(200);
  replicas.release(replica);
  expect(replicas.take(paceOf)).toBeUndefined();
});

test("the connection to a replica that hangs is closed, since nobody waits for its answer any more", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { replicas } = followed();
  const address = { host: "127.0.0.1", port };
  replicas.update({
    replicas: [{ id: "r1", address, inferSocket: undefined }],
    startingCount: 0,
    trouble: undefined,
  });
  const replica = taken(replicas);
  const asked = once(server, "request");
  const call = { path: "/", body: Buffer.from("{}"), headerLength: undefined, deadlineMs: 60_000 };
  const failed = new Promise((resolve) => replica.send(call, resolve));
  await asked;
  const replaced = replicas.replaceSilent(replica, LATE);
  replicas.update(reachable());
  expect(await replaced).toBe(true);
  expect(await failed).toBeInstanceOf(Error);
});

test("a query that comes during the first start hears that a replica is on its way", () => {
  const { replicas } = followed();
  expect(replicas.noReplica().message).toContain("none runs; scale it up");
  replicas.update({ ...reachable(), startingCount: 1 });
  expect(replicas.noReplica().message).toContain("one is being started; try again");
  replicas.update({ ...reachable(), startingCount: 1, trouble: "replica r1 exited with code 1" });
  expect(replicas.noReplica().message).toContain("replica r1 exited with code 1");
});
