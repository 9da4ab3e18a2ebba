// What a model is, from its looks: a file's suffix, what lies in a folder, the form of a name. Pure; look.ts does the looking.
import { NAME_PATTERN } from "../../config.ts";
import { InvalidModelFileError, InvalidOptionsError, ModelFileNotFoundError } from "../../errors.ts";
import { nearest } from "../../nearest.ts";
import { isImageName } from "../../package-names.ts";
import { MODEL_KINDS, type ModelKind } from "./kinds.ts";

/** What was found where the target points. */
export type Found =
  | { readonly at: "url" }
  | { readonly at: "file" }
  /** Names at the folder's top; of folders in it what theirs hold, with "/". */
  | { readonly at: "folder"; readonly names: readonly string[] }
  /** Names in the folder where it should be; undefined when that is not there either. */
  | { readonly at: "nothing"; readonly neighbours: readonly string[] | undefined };

export interface Target {
  /** As the user wrote it. */
  readonly text: string;
  /** Absolute, of a file or folder. */
  readonly path: string;
  readonly found: Found;
}

/** A deployer by its name, and the option that says where the model is. */
export interface Recognized {
  readonly kind: ModelKind;
  /** In words: "an ONNX file". */
  readonly what: string;
  readonly options: { readonly [option: string]: unknown };
  /** Made from the file's or folder's name; undefined when that gives none. */
  readonly name: string | undefined;
  /** What to watch for changes; undefined for what is not on this machine's disk. */
  readonly watched: string | undefined;
}

interface Form {
  readonly what: string;
  /** Whether a file or folder is of the form, by its name alone. */
  readonly fits: RegExp | undefined;
  /** Files at a folder's top that make it one of the form. */
  readonly marks: readonly string[];
  readonly options: (target: Target) => { readonly [option: string]: unknown };
}

const FORMS: Readonly<Record<ModelKind, Form>> = {
  onnx: {
    what: "an ONNX file",
    fits: /\.onnx$/i,
    marks: [],
    options: ({ path }) => ({ model: path }),
  },
  tensorflow: {
    what: "a TensorFlow model",
    fits: /\.json$|(?:^|\/)saved_model\.pb$/i,
    marks: ["saved_model.pb", "model.json"],
    options: ({ path }) => ({ model: path }),
  },
  function: {
    what: "a module",
    fits: /\.(?:[cm]?[jt]s|[jt]sx)$/i,
    marks: [],
    options: ({ path }) => ({ module: path }),
  },
  python: {
    what: "a Python model",
    fits: /\.zip$/i,
    marks: ["predict.py", "inference.py", "model.bin"],
    options: ({ path, found }) => (found.at === "file" ? { zip: path } : { folder: path }),
  },
  dockerfile: {
    what: "a folder with a Dockerfile",
    fits: /(?:^|\/)Dockerfile$/,
    marks: ["Dockerfile"],
    options: ({ path }) => ({ dockerfile: path }),
  },
  command: {
    what: "a folder with a program that serves it",
    fits: undefined,
    marks: [],
    options: ({ path }) => ({ folder: path }),
  },
  image: { what: "an image", fits: undefined, marks: [], options: ({ text }) => ({ image: text }) },
  url: { what: "a server elsewhere", fits: undefined, marks: [], options: ({ text }) => ({ url: text }) },
};

const FOLDER_KINDS = ["dockerfile", "tensorflow", "python"] as const satisfies readonly ModelKind[];
const FILE_KINDS = [
  "onnx",
  "function",
  "tensorflow",
  "python",
  "dockerfile",
] as const satisfies readonly ModelKind[];

const EVERYTHING =
  "an .onnx file, a SavedModel folder, a model.json of TensorFlow.js, a .ts or .js module, a folder with a Dockerfile, " +
  "a Python folder or zip (predict.py, inference.py or model.bin), an image (name:tag), a URL, or a folder with the " +
  'program that serves it (--command "python3 server.py")';

/** Files of which people think that they are models to deploy as they stand, and the way to get there. */
const FOREIGN: readonly { readonly pattern: RegExp; readonly advice: string }[] = [
  {
    pattern: /(?:^|\/)(?:predict|inference)\.py$|(?:^|\/)model\.bin$/,
    advice: "is a part of a Python model; give the folder that it is in",
  },
  {
    pattern: /\.py$/i,
    advice:
      "is Python; a Python model is a folder with a predict.py (predict(model, inputs)); give such a folder",
  },
  {
    pattern: /\.(?:keras|h5|hdf5)$/i,
    advice:
      "is a Keras file, which only Keras reads; save the model with model.export(folder) and give that folder",
  },
  {
    pattern: /\.tflite$/i,
    advice: "is a TensorFlow Lite model, for phones; give the SavedModel that it was made from",
  },
  {
    pattern: /\.pbtxt$|(?<!(?:^|\/)saved_model)\.pb$/i,
    advice: "is a bare graph of TensorFlow; save the model as a SavedModel and give its folder",
  },
  {
    pattern: /\.(?:pt|pth|safetensors|ckpt)$/i,
    advice:
      "holds weights of PyTorch, without the program; export it as ONNX (torch.onnx.export), or put it into a folder with a predict.py that loads it",
  },
  {
    pattern: /\.(?:pkl|pickle|joblib|dill)$/i,
    advice: "is a pickle; put it into a folder with a predict.py that loads it, or name a callable model.bin",
  },
  {
    pattern: /\.(?:gguf|ggml)$/i,
    advice: "holds the weights of a language model; deploy a server that serves it, by its image or URL",
  },
  {
    pattern:
      /(?:^|\/)weights_manifest\.json$|(?:^|\/)(?:package(?:-lock)?|tsconfig|contract|manifest)\.json$/i,
    advice: "is no model; a model.json of TensorFlow.js has a topology and weights",
  },
];

/**
 * @param as the kind, where the user names it
 * @throws ModelFileNotFoundError, InvalidModelFileError, InvalidOptionsError; each says what was looked for and found
 */
export function recognize(target: Target, as?: ModelKind): Recognized {
  const kind = as ?? kindOf(target);
  if (as !== undefined) checkNamed(target, as);
  const { what, options } = FORMS[kind];
  const isOnDisk = kind !== "image" && kind !== "url";
  return {
    kind,
    what: target.found.at === "file" && kind === "python" ? "a zip with a Python model" : what,
    options: options(target),
    name: nameOf(target, kind),
    watched: isOnDisk ? target.path : undefined,
  };
}

function kindOf(target: Target): ModelKind {
  const { found } = target;
  if (found.at === "url") return "url";
  if (found.at === "file") return fileKind(target);
  if (found.at === "folder") return folderKind(target, found.names);
  if (!looksLikePath(target.text) && /[:/@]/.test(target.text) && isImageName(target.text)) return "image";
  throw missing(target, found.neighbours);
}

function fileKind({ text, path }: Target): ModelKind {
  const foreign = FOREIGN.find(({ pattern }) => pattern.test(path));
  if (foreign !== undefined)
    throw new InvalidModelFileError(`${text} ${foreign.advice}`, { details: { path } });
  const kind = FILE_KINDS.find((each) => FORMS[each].fits?.test(path) === true);
  if (kind !== undefined) return kind;
  throw new InvalidModelFileError(
    `${text} is a file of none of the kinds that can be deployed: expected ${EVERYTHING}; --as KIND says what it is`,
    { details: { path, kinds: MODEL_KINDS } },
  );
}

function folderKind({ text, path }: Target, names: readonly string[]): ModelKind {
  const marked = FOLDER_KINDS.flatMap((kind) =>
    FORMS[kind].marks.filter((mark) => names.includes(mark)).map((mark) => ({ kind, mark })),
  );
  const [first] = marked;
  const other = marked.find(({ kind }) => kind !== first?.kind);
  if (first !== undefined && other !== undefined) {
    throw new InvalidOptionsError(
      `${text} holds both ${first.mark} and ${other.mark}, so it could be ${FORMS[first.kind].what} or ${FORMS[other.kind].what}; say which: --as ${first.kind} or --as ${other.kind}`,
      { details: { option: "as", path } },
    );
  }
  if (first !== undefined) return first.kind;
  throw new ModelFileNotFoundError(
    `folder ${text} holds none of ${FOLDER_KINDS.flatMap((kind) => FORMS[kind].marks).join(", ")}; ${advice(text, names)}`,
    { details: { path, files: names.slice(0, 20) } },
  );
}

/** What in the folder could be meant. */
function advice(text: string, names: readonly string[]): string {
  const candidate =
    names.find((name) =>
      /(?:^|\/)(?:saved_model\.pb|model\.json|Dockerfile|predict\.py|inference\.py)$/.test(name),
    ) ??
    names.find((name) => name.endsWith(".onnx")) ??
    names.find((name) => FORMS.function.fits?.test(name) === true && !name.includes(".config."));
  const folder = text.replace(/\/+$/, "");
  if (candidate !== undefined) {
    const isMark = !/\.(?:onnx|json|[cm]?[jt]sx?)$/.test(candidate);
    return `give ${folder}/${isMark ? candidate.slice(0, candidate.lastIndexOf("/")) : candidate}`;
  }
  const own = names.filter((name) => !name.includes("/"));
  if (own.length === 0) return "it is empty";
  return `it holds ${own.slice(0, 8).join(", ")}${own.length > 8 ? ", …" : ""}; expected ${EVERYTHING}`;
}

/** Somebody who writes one of these means a path. */
function looksLikePath(text: string): boolean {
  return (
    /^[./~]|^[A-Za-z]:\\|\\|\/$/.test(text) ||
    /\.(?:onnx|json|[cm]?[jt]sx?|zip|py|pb|pt|pth|h5|keras|pkl|bin|tflite)$/i.test(text)
  );
}

function missing({ text, path }: Target, neighbours: readonly string[] | undefined): Error {
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  const near = nearest(path.slice(path.lastIndexOf("/") + 1), neighbours ?? []);
  const hint =
    neighbours === undefined
      ? `there is no folder ${folder}`
      : near === undefined
        ? `looked in ${folder}${neighbours.length === 0 ? ", which is empty" : ""}`
        : `did you mean ${text.slice(0, text.lastIndexOf("/") + 1)}${near}?`;
  const image =
    near !== undefined || looksLikePath(text) || !isImageName(text)
      ? ""
      : `; an image is written with its tag (${text}:latest), or with --as image`;
  return new ModelFileNotFoundError(`no file or folder ${text}: ${hint}${image}`, { details: { path } });
}

/** @throws when the target cannot be of the kind that its user names */
function checkNamed(target: Target, as: ModelKind): void {
  const { text, found } = target;
  if (as === "image") {
    if (isImageName(text)) return;
    throw new InvalidOptionsError(`--as image: ${text} is no name of an image`, {
      details: { option: "as" },
    });
  }
  if (as === "url") {
    if (found.at === "url") return;
    throw new InvalidOptionsError(`--as url: ${text} is no URL; expected http:// or https://`, {
      details: { option: "as" },
    });
  }
  if (found.at === "url")
    throw new InvalidOptionsError(`--as ${as}: ${text} is a URL; give a file or folder`, {
      details: { option: "as" },
    });
  if (found.at === "nothing") throw missing(target, found.neighbours);
  if (as === "command" && found.at === "file")
    throw new InvalidOptionsError(
      `--command: ${text} is a file; give the folder that the program is started in`,
      { details: { option: "command" } },
    );
}

/** File names that say nothing of the model. */
const PLAIN =
  /^(?:model|saved[-_]?model|index|predict|prediction|main|server|dockerfile|tfjs|onnx|src|dist)$/i;

function nameOf({ text, path }: Target, kind: ModelKind): string | undefined {
  if (kind === "url") return nameOfUrl(text);
  if (kind === "image") return asName(text.slice(text.lastIndexOf("/") + 1).replace(/[:@].*$/, ""));
  const parts = path.split("/").filter((part) => part !== "");
  const names = parts.toReversed().map((part, at) => (at === 0 ? withoutSuffix(part) : part));
  // Folders of TensorFlow Serving are called by the version.
  const telling = names.find((name) => !PLAIN.test(name) && !/^\d+$/.test(name));
  return asName(telling ?? "") ?? asName(names[0] ?? "");
}

function withoutSuffix(name: string): string {
  return name.replace(/\.(?:onnx|json|pb|zip|[cm]?[jt]sx?)$/i, "");
}

function nameOfUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return undefined;
  const last = url.pathname.split("/").findLast((part) => part !== "" && !/^v\d+$/.test(part));
  const host = /[a-z]/i.test(url.hostname) ? url.hostname.split(".")[0] : undefined;
  return asName(last ?? host ?? "");
}

/** The nearest name that an application may have. */
function asName(text: string): string | undefined {
  const name = text
    .toLowerCase()
    .replaceAll(/[^-_a-z0-9]+/g, "-")
    .replaceAll(/^[-_]+|[-_]+$/g, "")
    .slice(0, 100)
    .replaceAll(/[-_]+$/g, "");
  return NAME_PATTERN.test(name) ? name : undefined;
}
