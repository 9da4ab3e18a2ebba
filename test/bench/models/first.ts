// A model that costs nothing: what is left is the price of the path.
export function predict(inputs: readonly (readonly number[])[]): number[] {
  return inputs.map(([first = 0]) => first);
}
