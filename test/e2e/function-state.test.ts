import { expect, it } from "vitest";
import { deployFunction, windjammer } from "../../deployers/index.ts";

it("goes on counting in each replica for itself, from where the counter stands here", async () => {
  let answered = 0;
  const count = (): number => (answered += 1);
  count();
  await using wj = await windjammer({ port: 0, adminPort: 0 });
  const counting = await deployFunction(wj, {
    name: "counting",
    version: "1",
    inputType: "json",
    single: true,
    replicas: 2,
    fn: async (): Promise<readonly [number, number]> => {
      // Long enough that both replicas get queries.
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
      return [process.pid, count()];
    },
  });
  const answers = await Promise.all(Array.from({ length: 60 }, async () => counting.predict(0)));
  const byReplica = Object.values(Object.groupBy(answers, ([pid]) => pid));
  expect(byReplica).toHaveLength(2);
  for (const some of byReplica) {
    const counts = (some ?? []).map(([, each]) => each).toSorted((a, b) => a - b);
    expect(counts).toEqual(counts.map((_, index) => index + 2));
  }
  expect(answered).toBe(1);
});
