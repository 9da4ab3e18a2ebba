// As first.ts, for texts.
export function predict(inputs: readonly string[]): string[] {
  return inputs.map((text) => text.slice(0, text.indexOf(" ")));
}
