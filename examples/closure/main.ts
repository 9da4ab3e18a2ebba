// Deploys a function as it stands here, with all it holds: a law fitted a moment ago, in a class with a private field, an
// npm package, a counter. What happens here afterwards does not reach it; the next version takes it along.
import { Matrix, solve } from "ml-matrix";
import { deployFunction, inspect, windjammer } from "windjammer";
import { z } from "zod";
import { NEBULAE, type Nebula } from "./nebulae.ts";

/** A straight line through nebulae, by least squares: velocity = slope × distance + offset. */
class Law {
  readonly #coefficients: Matrix;
  readonly count: number;

  constructor(nebulae: readonly Nebula[]) {
    const velocities = Matrix.columnVector(nebulae.map(({ velocity }) => velocity));
    this.#coefficients = solve(termsOf(nebulae.map(({ distance }) => distance)), velocities);
    this.count = nebulae.length;
  }

  velocities(distances: readonly number[]): number[] {
    return termsOf(distances).mmul(this.#coefficients).to1DArray();
  }
}

function termsOf(distances: readonly number[]): Matrix {
  return new Matrix(distances.map((distance) => [distance, 1]));
}

let law = new Law(NEBULAE.filter(({ distance }) => distance < 1));
let asked = 0;

/** Gets a list of distances in megaparsecs, gives the velocities in km/s at which they recede. */
const recede = (distances: readonly number[]) => {
  asked += distances.length;
  return law
    .velocities(distances)
    .map((velocity) => ({ velocity: Math.round(velocity), law: law.count, asked }));
};
console.log(`What goes along:\n\n${String(inspect(recede))}\n`);

/** What callers may ask; it gives the endpoint its type. */
const distance = z.number().min(0);
await using wj = await windjammer({ port: 0, adminPort: 0 });
const nebula = await deployFunction(wj, { name: "recede", version: "1", input: distance, fn: recede });
console.log("1 Mpc, of the near nebulae:", await nebula.predict(1));

law = new Law(NEBULAE);
console.log("here, all 24 are known now:", ...recede([1]));
console.log("version 1 knows what it did:", await nebula.predict(1));

await deployFunction(wj, { name: "recede", version: "2", input: distance, fn: recede });
console.log("version 2 knows what we do:", await nebula.predict(1));

const [near, far] = await nebula.predictBatch([0, 1]);
console.log(
  `\nHubble's constant of 1929: ${(far?.velocity ?? 0) - (near?.velocity ?? 0)} km/s per megaparsec.`,
);
