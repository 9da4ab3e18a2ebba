// A function to deploy: it gets a list of queries and returns one answer for each.

export function sum(vectors: readonly (readonly number[])[]): number[] {
  return vectors.map((vector) => vector.reduce((total, value) => total + value, 0));
}
