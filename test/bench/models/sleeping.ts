// Models whose speed is known: they keep their thread asleep for fixed + n × per row, so that they take no CPU.
const flag = new Int32Array(new SharedArrayBuffer(4));

function sleep(ms: number): void {
  Atomics.wait(flag, 0, 0, ms);
}

function firsts(inputs: readonly (readonly number[])[]): number[] {
  return inputs.map(([first = 0]) => first);
}

/** 10 ms, however many rows. */
export function flat(inputs: readonly (readonly number[])[]): number[] {
  sleep(10);
  return firsts(inputs);
}

/** 10 ms and 0.05 ms a row. */
export function affine(inputs: readonly (readonly number[])[]): number[] {
  sleep(10 + 0.05 * inputs.length);
  return firsts(inputs);
}

/** 1 ms a row: batching gains nothing. */
export function linear(inputs: readonly (readonly number[])[]): number[] {
  sleep(inputs.length);
  return firsts(inputs);
}

/** 10 ms and 1 ms a row: 800 rows a second in batches of 40, of which two in a row take 100 ms. */
export function served(inputs: readonly (readonly number[])[]): number[] {
  sleep(10 + inputs.length);
  return firsts(inputs);
}

/** As `served`, times the largest second number of its inputs. */
export function slowing(inputs: readonly (readonly number[])[]): number[] {
  sleep((10 + inputs.length) * Math.max(...inputs.map(([, factor = 1]) => factor)));
  return firsts(inputs);
}

let batches = 0;

/** As `served`, but every twentieth batch takes 150 ms. */
export function straggling(inputs: readonly (readonly number[])[]): number[] {
  batches += 1;
  sleep(batches % 20 === 0 ? 150 : 10 + inputs.length);
  return firsts(inputs);
}
