// What may stand in a model's requirements.txt: packages of Python by exact version (PEP 440), with hashes and markers.

/** PEP 508. A leading "-" would be an option of pip. */
const NAME = /^[A-Za-z0-9](?:[-A-Za-z0-9._]*[A-Za-z0-9])?/;
const EXTRAS = /^\[[A-Za-z0-9._-]+(?:\s*,\s*[A-Za-z0-9._-]+)*\]/;
/** The pattern of PEP 440, without the wildcards and ranges of specifiers. */
const VERSION =
  /^v?(?:\d+!)?\d+(?:\.\d+)*(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?(?:[-_.]?dev[-_.]?\d*)?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$/i;
/** Comparisons such as `python_version < "3.12" and sys_platform == "linux"`; " -" would begin an option of pip. */
const MARKER = /^(?!.* -)[A-Za-z0-9_.'"<>=!~() ][-A-Za-z0-9_.'"<>=!~() ]*$/;
const HASH = /^--hash=(?:sha256|sha384|sha512):[0-9a-f]{64,128}$/;

const MAX_LENGTH = 256;
const MAX_REQUIREMENTS = 1_000;
const MAX_TEXT_LENGTH = 1_000_000;
/** Also of one that goes on over several. Keeps the time that patterns take bounded. */
const MAX_LINE_LENGTH = 10_000;

/** Requirements that are safe in a file for pip, or what is wrong, for whoever wrote them. */
export type ParsedRequirements =
  | { readonly requirements: readonly Requirement[] }
  | { readonly problem: string };

export interface Requirement {
  /** As it was written. */
  readonly name: string;
  readonly version: string;
  /** The whole line, in one form: `name[extra]==1.2.3 ; marker --hash=…`. */
  readonly line: string;
}

/** Whether it is one version of Python's kind, such as "1.2.3", "2.0rc1" or "2.13.0+cpu", not a range or wildcard. */
function isPythonVersion(version: string): boolean {
  return version.length <= MAX_LENGTH && VERSION.test(version);
}

/** Reads a requirements.txt: comments, continued lines and blank ones are allowed, options and ranges are not. */
export function parseRequirements(text: string): ParsedRequirements {
  if (text.length > MAX_TEXT_LENGTH) return { problem: `it has more than ${MAX_TEXT_LENGTH} characters` };
  const requirements: Requirement[] = [];
  let number = 0;
  let open = "";
  for (const line of [...text.replace(/^\u{feff}/u, "").split(/\r?\n/), ""]) {
    number += 1;
    if (open.length + line.length > MAX_LINE_LENGTH)
      return { problem: `line ${number}: it has more than ${MAX_LINE_LENGTH} characters` };
    open += line.replace(/(?:^|\s)#.*$/, " ");
    if (/\\\s*$/.test(open)) {
      open = open.replace(/\\\s*$/, " ");
      continue;
    }
    const words = open.trim();
    open = "";
    if (words === "") continue;
    const parsed = parseRequirement(words);
    if (typeof parsed === "string") return { problem: `line ${number}: ${parsed}` };
    requirements.push(parsed);
  }
  return requirements.length > MAX_REQUIREMENTS
    ? { problem: `it names more than ${MAX_REQUIREMENTS} packages` }
    : { requirements };
}

/** "Scikit_Learn" and "scikit-learn" are one package. */
export function packageKey(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, "-");
}

interface Parts {
  readonly name: string;
  readonly extras: string;
  /** What stands behind "==", whatever it is. */
  readonly version: string;
  readonly marker: string;
  readonly hashes: readonly string[];
}

function partsOf(words: string): Parts {
  const name = NAME.exec(words)?.[0] ?? "";
  const behind = words.slice(name.length).trimStart();
  const extras = EXTRAS.exec(behind)?.[0] ?? "";
  const [specifier = "", ...options] = behind.slice(extras.length).split(/\s+(?=--)/);
  const [pin = "", ...markers] = specifier.split(";");
  return {
    name,
    extras: extras.replaceAll(/\s/g, ""),
    version: /^==\s*([^=\s]\S*)$/.exec(pin.trim())?.[1] ?? "",
    marker: markers.join(";").trim(),
    hashes: options.map((option) => option.trim()),
  };
}

function parseRequirement(words: string): Requirement | string {
  const shown = JSON.stringify(words.length > 80 ? `${words.slice(0, 80)}…` : words);
  if (words.startsWith("-"))
    return `${shown} is an option of pip; name packages by exact version only, options are set where pip runs (PIP_INDEX_URL)`;
  const { name, extras, version, marker, hashes } = partsOf(words);
  if (name === "" || name.length > MAX_LENGTH || extras.length > MAX_LENGTH)
    return `${shown} is not the name of a package`;
  if (!isPythonVersion(version))
    return `${shown} needs an exact version, such as ${name}==1.2.3; \`pip freeze\` prints those that are installed`;
  const problem = wrongMarker(marker) ?? wrongHash(hashes);
  if (problem !== undefined) return problem;
  const suffix = [...(marker === "" ? [] : [`; ${marker}`]), ...hashes];
  return { name, version, line: [`${name}${extras}==${version}`, ...suffix].join(" ") };
}

function wrongMarker(marker: string): string | undefined {
  if (marker === "" || (marker.length <= MAX_LENGTH && MARKER.test(marker))) return undefined;
  return `${JSON.stringify(marker.slice(0, 80))} is not a marker such as python_version < "3.12"`;
}

function wrongHash(hashes: readonly string[]): string | undefined {
  const wrong = hashes.find((hash) => !HASH.test(hash));
  return wrong === undefined
    ? undefined
    : `${JSON.stringify(wrong.slice(0, 80))} is not a hash such as --hash=sha256:…`;
}
