// Warnings for captured text that looks like a secret: its path, never its value.

const TOKEN =
  /^(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|npm_\w{30,}|glpat-[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----)/;
const NAME =
  /(?:^|[._$\W])\w*(?:pass(?:word|wd|phrase)|secret|token|api_?key|private_?key|credential)s?\w*$/i;
const MIN_LENGTH = 8;
/** Variables whose values are no secrets, and which are likely to be captured. */
const HARMLESS =
  /^(?:HOME|PWD|OLDPWD|PATH|SHELL|USER|LOGNAME|LANG|TERM|HOSTNAME|NODE_ENV|EDITOR|INIT_CWD|TMPDIR|_|npm_.*)$/i;

export class Secrets {
  readonly warnings: string[] = [];
  readonly #environment: ReadonlyMap<string, string> = new Map(
    Object.entries(process.env)
      .filter(([name, value]) => value !== undefined && value.length >= MIN_LENGTH && !HARMLESS.test(name))
      .map(([name, value]) => [value ?? "", name]),
  );

  check(text: string, path: string): void {
    if (text.length < MIN_LENGTH || text.length > 10_000) return;
    const variable = this.#environment.get(text);
    if (variable !== undefined)
      this.#warn(
        path,
        `holds the value of the environment variable ${variable}; read process.env.${variable} inside the function, and set it with the option environment`,
      );
    else if (TOKEN.test(text)) this.#warn(path, "looks like an access token or a private key");
    // A path is long where a list is: only its end is looked at.
    else if (NAME.test(path.slice(-64)) && !/\s/.test(text))
      this.#warn(path, "looks like a secret by its name");
  }

  #warn(path: string, text: string): void {
    this.warnings.push(`${path} ${text}; it is written into the bundle in clear`);
  }
}
