// Gives memory of bytes that were read back at once, which the garbage collector would do too late.

/** Smaller pieces are not worth it, and the smallest lie in the heap itself. */
const MIN_BYTES = 1024;

/**
 * Frees what these bytes are in, if they fill it alone. Nobody may read them any more.
 *
 * Memory outside the heap counts against the heap's limit until it is collected: at 20,000 requests/s of 7 KiB the whole
 * heap was marked 14 times a second for it, which took half of the frontend's CPU and made pauses of up to 30 ms.
 */
export function giveBack(bytes: Uint8Array): void {
  const { byteLength } = bytes;
  if (byteLength < MIN_BYTES) return;
  const { buffer } = bytes;
  // Others may be parts of a pool.
  if (byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
