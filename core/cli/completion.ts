// `windjammer completion`: scripts that make a shell complete commands, options, and the names a server knows.
import { Argument, Command, Option } from "commander";
import type { Windjammer } from "../client/interface.ts";
import { type ServerFlags, withServer } from "./server.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

/** A shell waits for a server's names this long. */
const NAMES_TIMEOUT_MS = 5_000;

/** Each asks this program for the completions of the words so far. */
const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# windjammer completion for bash: source <(windjammer completion bash)
_windjammer() {
  # Not COMP_WORDS: bash parts those at each : and = too, as in a URL, and leaves their quotes.
  local IFS=$'\\n'
  COMPREPLY=($(windjammer completion bash --line="\${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o default -F _windjammer windjammer
`,
  zsh: `#compdef windjammer
# windjammer completion for zsh: source <(windjammer completion zsh)
_windjammer() {
  local -a candidates
  # Q: without the quotes; the last word's may still be open.
  local quotes="[\\"']"
  local -a typed=("\${(@Q)words[2,CURRENT-1]}" "\${(Q)\${words[CURRENT]//$~quotes}}")
  candidates=("\${(@f)$(windjammer completion zsh -- "\${(@)typed}" 2>/dev/null)}")
  candidates=("\${(@)candidates:#}")
  if (( \${#candidates} )); then compadd -- "\${candidates[@]}"; else _files; fi
}
compdef _windjammer windjammer
`,
  fish: `# windjammer completion for fish: windjammer completion fish | source
function __windjammer_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (windjammer completion fish -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c windjammer -f -a '(__windjammer_complete)'
`,
};

interface CompletionFlags {
  readonly line?: string;
  readonly json?: true;
}

/** @param program gives the whole command line, which holds this command as well */
export function completionCommand(program: () => Command): Command {
  return new Command("completion")
    .description("print a script that makes a shell complete commands, options and names")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .argument("[words...]", "behind --: print the completions of the last of these words instead")
    .addOption(new Option("--line <text>", "the same for a line as it is typed, to the cursor").hideHelp())
    .option("--json", "print JSON")
    .action(async (shell: Shell, given: readonly string[], { line, json }: CompletionFlags) => {
      const words = line === undefined ? given : typedWords(line).slice(1);
      const lines = words.length === 0 ? undefined : await candidates(program(), words);
      const text = lines === undefined ? SCRIPTS[shell] : lines.map((each) => `${each}\n`).join("");
      process.stdout.write(
        json === true ? `${JSON.stringify(lines ?? { shell, script: text }, undefined, 2)}\n` : text,
      );
    });
}

/** The words of a line that is being typed, as the shell will read them; a quote that is still open ends with it. */
function typedWords(line: string): readonly string[] {
  const words = line.match(/(?:\\[^]|'[^']*'?|"(?:\\[^]|[^"\\])*"?|[^\s\\'"])+/g) ?? [];
  const read = words.map((word) =>
    word.replaceAll(/\\([^])|'([^']*)'?|"((?:\\[^]|[^"\\])*)"?/g, (...[, plain, single, double]) =>
      String(plain ?? single ?? String(double).replaceAll(/\\(["$\\`])/g, "$1")),
    ),
  );
  // Behind a space the next one begins, unless the space is quoted.
  const last = words.at(-1);
  return last !== undefined && line.endsWith(last) ? read : [...read, ""];
}

/** What the last word may become. */
async function candidates(program: Command, words: readonly string[]): Promise<readonly string[]> {
  const last = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = program.commands.find((each) => each.name() === before[0]);
  const fits = (word: string): boolean => word.startsWith(last);
  if (command === undefined) {
    const commands = program.createHelp().visibleCommands(program);
    return before.length === 0 ? commands.map((each) => each.name()).filter(fits) : [];
  }
  const given = before.slice(1);
  const option = optionOf(command, given.at(-1));
  if (option !== undefined && (option.required || option.optional))
    return (option.argChoices ?? []).filter(fits);
  if (last.startsWith("-"))
    return command.options.flatMap(({ long, hidden }) => (long == null || hidden ? [] : [long])).filter(fits);
  return (await argumentValues(command, given)).filter(fits);
}

/** Values of the argument that is due: its choices, or names that the server knows. */
async function argumentValues(command: Command, given: readonly string[]): Promise<readonly string[]> {
  const operands = operandsOf(command, given);
  const argument = command.registeredArguments[operands.length];
  if (argument === undefined) return [];
  if (argument.argChoices !== undefined) return argument.argChoices;
  // What is deployed is a file, whatever the argument is called.
  const read = command.name() === "deploy" ? undefined : NAMES[argument.name()];
  if (read === undefined) return [];
  // Unreferenced: only a server that does not answer keeps the process alive until then.
  setTimeout(() => process.exit(0), NAMES_TIMEOUT_MS).unref();
  return withServer(serverFlags(given), (wj) => read(wj, operands)).catch(() => []);
}

/** The server that the line names so far. */
function serverFlags(given: readonly string[]): Pick<ServerFlags, "url" | "token"> {
  const url = valueOf(given, "--url");
  const token = valueOf(given, "--token");
  return { ...(url === undefined ? {} : { url }), ...(token === undefined ? {} : { token }) };
}

/** Of an option that stands before its value, or as `--option=value`; the last one counts. */
function valueOf(given: readonly string[], option: string): string | undefined {
  const at = given.findLastIndex((word) => word === option || word.startsWith(`${option}=`));
  const word = given[at];
  return word === option ? given[at + 1] : word?.slice(option.length + 1);
}

/** The words that are no options and no values of options. */
function operandsOf(command: Command, given: readonly string[]): readonly string[] {
  return given.filter(
    (word, at) => !word.startsWith("-") && optionOf(command, given[at - 1])?.required !== true,
  );
}

function optionOf({ options }: Command, word: string | undefined): Option | undefined {
  return word === undefined ? undefined : options.find(({ long, short }) => word === long || word === short);
}

const models = async (wj: Windjammer): Promise<readonly string[]> =>
  (await wj.models()).map(({ name }) => name);
const applications = async (wj: Windjammer): Promise<readonly string[]> =>
  (await wj.applications()).map(({ name }) => name);

/** By what an argument is called. */
const NAMES: Readonly<
  Record<string, (wj: Windjammer, operands: readonly string[]) => Promise<readonly string[]>>
> = {
  application: applications,
  model: models,
  target: async (wj) => [...new Set([...(await models(wj)), ...(await applications(wj))])],
  name: async (wj, [kind]) => (kind === "app" ? applications(wj) : models(wj)),
  version: async (wj, operands) => (await wj.versions(operands.at(-1) ?? "")).map(({ version }) => version),
};
