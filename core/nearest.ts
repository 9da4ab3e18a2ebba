// Which known word somebody meant who mistyped one.
import { distance } from "fastest-levenshtein";

/** Nobody types longer ones; the comparison is quadratic. */
const LONGEST_WORD = 200;

/** What to do about a word that is not known: "did you mean …?", or `otherwise`. */
export function didYouMean(word: string, known: readonly string[], otherwise: string): string {
  const near = nearest(word, known);
  return near === undefined ? otherwise : `did you mean "${near}"?`;
}

/** The known word nearest to a mistyped one; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const typed = word.slice(0, LONGEST_WORD).toLowerCase();
  const allowed = typed.length < 4 ? 1 : Math.max(2, Math.floor(typed.length / 3));
  let best: { readonly candidate: string; readonly edits: number } | undefined;
  for (const candidate of known) {
    const edits = distance(typed, candidate.toLowerCase());
    if (edits <= allowed && edits < candidate.length && edits < (best?.edits ?? Infinity))
      best = { candidate, edits };
  }
  return best?.candidate;
}
