// Recordings to listen to: WAV files, and a siren that is no speech.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

/** One channel of 16,000 samples a second, -1 to 1. */
export interface Recording {
  readonly name: string;
  readonly samples: Float32Array;
}

const RATE = 16_000;

/** Reads a WAV file of 16-bit samples, one channel, 16 kHz. */
export async function readWav(file: URL): Promise<Recording> {
  const bytes = await readFile(file);
  const [channels, rate, bits] = [bytes.readUInt16LE(22), bytes.readUInt32LE(24), bytes.readUInt16LE(34)];
  if (channels !== 1 || rate !== RATE || bits !== 16) {
    throw new Error(
      `${file.pathname} has ${channels} channels, ${rate} Hz, ${bits} bits; expected 1, ${RATE}, 16`,
    );
  }
  const start = bytes.indexOf("data") + 8;
  const samples = Float32Array.from(
    { length: (bytes.length - start) >> 1 },
    (_, index) => bytes.readInt16LE(start + 2 * index) / 32_768,
  );
  return { name: basename(file.pathname), samples };
}

/** As loud as speech, and none. */
export function siren(seconds: number): Recording {
  let phase = 0;
  const samples = Float32Array.from({ length: seconds * RATE }, (_, index) => {
    phase += (2 * Math.PI * (700 + 250 * Math.sin((4 * Math.PI * index) / RATE))) / RATE;
    return 0.3 * Math.sin(phase);
  });
  return { name: "a siren", samples };
}
