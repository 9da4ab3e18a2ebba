// The 24 nebulae of Edwin Hubble's "A relation between distance and radial velocity among extra-galactic nebulae" (1929).

export interface Nebula {
  /** Megaparsecs. */
  readonly distance: number;
  /** Kilometres a second, away from us. */
  readonly velocity: number;
}

const TABLE: readonly (readonly [number, number])[] = [
  [0.032, 170],
  [0.034, 290],
  [0.214, -130],
  [0.263, -70],
  [0.275, -185],
  [0.275, -220],
  [0.45, 200],
  [0.5, 290],
  [0.5, 270],
  [0.63, 200],
  [0.8, 300],
  [0.9, -30],
  [0.9, 650],
  [0.9, 150],
  [0.9, 500],
  [1, 920],
  [1.1, 450],
  [1.1, 500],
  [1.4, 500],
  [1.7, 960],
  [2, 500],
  [2, 850],
  [2, 800],
  [2, 1090],
];

export const NEBULAE: readonly Nebula[] = TABLE.map(([distance, velocity]) => ({ distance, velocity }));
