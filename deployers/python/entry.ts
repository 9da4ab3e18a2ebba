// Which form a Python model has, found without running Python: its entry file, and the functions it must define.
import { InvalidModelFileError, ModelFileNotFoundError } from "../../core/index.ts";
import { readText, type ModelSource } from "./source.ts";

/** `predict.py`, Backprop's `inference.py`, or a pickled callable. */
type PythonForm = "predict" | "inference" | "pickle";

export interface Entry {
  readonly form: PythonForm;
  readonly file: string;
}

/** The first that is there counts: a model.bin beside a predict.py is its data. */
const FORMS: readonly (Entry & { readonly functions: readonly string[] })[] = [
  { form: "predict", file: "predict.py", functions: ["predict"] },
  { form: "inference", file: "inference.py", functions: ["load_model", "call_model"] },
  { form: "pickle", file: "model.bin", functions: [] },
];

/** @throws ModelFileNotFoundError (no entry file), InvalidModelFileError (a function is not in it) */
export async function findEntry(source: ModelSource): Promise<Entry> {
  const found = FORMS.find(({ file }) => source.files.some(({ name }) => name === file));
  if (found === undefined) {
    const names = source.files.slice(0, 10).map(({ name }) => name);
    throw new ModelFileNotFoundError(
      `${source.path} has neither predict.py (functions load_model and predict), nor inference.py (load_model and call_model), nor model.bin (a pickled callable) at its top; ` +
        `it has ${names.length === 0 ? "no files" : names.join(", ")}${source.files.length > 10 ? ", …" : ""}`,
      { details: { path: source.path } },
    );
  }
  const { form, file, functions } = found;
  const text = functions.length === 0 ? "" : withoutTexts((await readText(source, file)) ?? "");
  const missing = functions.find((name) => !mayDefine(text, name));
  if (missing !== undefined) {
    const known = Array.from(text.matchAll(/^(?:async\s+)?def\s+(\w+)/gm), ([, name]) => name);
    throw new InvalidModelFileError(
      `${file} in ${source.path} has no function ${missing}; its functions are: ${known.join(", ") || "(none)"}`,
      { details: { path: source.path, missing } },
    );
  }
  return { form, file };
}

/**
 * Whether a module's text can bring a name about: a light reading, that must never refuse what Python would take. The
 * model container has the last word.
 */
function mayDefine(text: string, name: string): boolean {
  const definition = new RegExp(
    String.raw`\b(?:def|class)\s+${name}\b|(?<![.\w])${name}\s*(?::[^=\n]+)?=(?!=)|\bimport\b[^=:]*\b${name}\b|\bimport\s*\*|\bglobals\s*\(|\bexec\s*\(|\b__getattr__\b`,
  );
  return definition.test(text);
}

/** The code without its comments and texts, in which anything may stand. */
function withoutTexts(code: string): string {
  return code.replaceAll(
    /("""|''')[\s\S]*?(?:\1|$(?![\s\S]))|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#[^\n]*/g,
    (found) => (found.startsWith("#") ? "" : '""'),
  );
}
