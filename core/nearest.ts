// Which known word somebody meant who mistyped one.
import { distance } from "fastest-levenshtein";

/** Nobody types longer ones; the comparison is quadratic. */
const LONGEST_WORD = 200;

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
