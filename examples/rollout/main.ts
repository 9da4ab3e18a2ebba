// Brings out a new version of a model by hand: first for some callers, then for all; a bad one is refused, and what turns
// out wrong later is taken back in one call. Callers ask all the while, and none is left without an answer.
import { deployFunction, GateFailedError, windjammer } from "windjammer";

type Mood = "good" | "bad" | "neither";

/** What people wrote, and what they meant. */
const REVIEWS: readonly (readonly [string, Mood])[] = [
  ["a good sail and friendly crew", "good"],
  ["the food was bad", "bad"],
  ["not bad at all", "good"],
  ["we left at noon", "neither"],
  ["not good, not cheap", "bad"],
  ["bad weather, good ship", "neither"],
  ["lovely", "good"],
  ["never a good wind", "bad"],
];
const texts = REVIEWS.map(([text]) => text);

/** The reviews that every version must get right before it serves. */
const examples = REVIEWS.slice(0, 2).map(([input, output]) => ({ input, output }));

/** A function of one text, with the words it goes by captured. */
function byWords(good: readonly string[], bad: readonly string[], turns: readonly string[]) {
  return (text: string): Mood => {
    let balance = 0;
    let sign = 1;
    for (const word of text.split(/\W+/)) {
      if (turns.includes(word)) sign = -1;
      else if (good.includes(word) || bad.includes(word)) {
        balance += good.includes(word) ? sign : -sign;
        sign = 1;
      }
    }
    if (balance === 0) return "neither";
    return balance > 0 ? "good" : "bad";
  };
}

await using wj = await windjammer({ port: 0, adminPort: 0 });

async function deploy(version: string, fn: (text: string) => Mood, more: { switch?: boolean } = {}) {
  const options = { name: "mood", version, inputType: "strings", single: true, fn, examples } as const;
  return deployFunction(wj, { ...options, ...more });
}

const mood = await deploy("1", byWords(["good"], ["bad"], []));
console.log(`Version 1 serves:        ${await right()} right.`);

const stopped = new AbortController();
const callers = Promise.all([1, 2, 3].map(() => callUntil(stopped.signal)));

// Without a switch 2 runs beside 1, for those who ask for it.
const canary = await deploy("2", byWords(["good", "lovely", "friendly"], ["bad"], ["not", "never"]), {
  switch: false,
});
const answers = await Promise.all(
  texts.map((text, index) => (index % 2 === 1 ? canary : mood).predict(text)),
);
console.log(`Every other asks for 2:  ${score(answers)} right.`);

console.log("\nWhere the two differ:");
const [before, after] = await Promise.all([mood, canary].map((each) => each.predictBatch(texts)));
for (const [index, text] of texts.entries()) {
  const [one, two] = [before?.[index], after?.[index]];
  if (one !== two) console.log(`  ${text.padEnd(32)} 1: ${String(one).padEnd(8)} 2: ${two}`);
}

await wj.setVersion("mood", "2");
console.log(`\nVersion 2 for everybody: ${await right()} right.`);

try {
  await deploy("3", byWords(["bad"], ["good"], []));
} catch (error) {
  if (!(error instanceof GateFailedError)) throw error;
  const [reason = ""] = error.message.split("\n");
  console.log(`Version 3 is refused:    ${reason}`);
}
console.log(`Version 2 goes on:       ${await right()} right.`);

await wj.setVersion("mood", "1");
console.log(`Rolled back in one call: ${await right()} right.`);

stopped.abort();
const lost = (await callers).reduce((sum, count) => sum + count, 0);
console.log(`\nMeanwhile three callers got ${lost === 0 ? "all their answers" : `${lost} ERRORS`}.`);

async function right(): Promise<string> {
  return score(await mood.predictBatch(texts));
}

function score(given: readonly Mood[]): string {
  return `${given.filter((answer, index) => answer === REVIEWS[index]?.[1]).length} of ${REVIEWS.length}`;
}

/** How many of a caller's queries failed. */
async function callUntil(signal: AbortSignal): Promise<number> {
  let failed = 0;
  for (let count = 0; !signal.aborted; count++) {
    await mood.predict(texts[count % texts.length] ?? "").catch(() => failed++);
  }
  return failed;
}
