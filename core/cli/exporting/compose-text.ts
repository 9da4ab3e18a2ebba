// The text of a compose file with one service. Pure.

/** What the server runs in where no other image is named. */
export const IMAGE = "node:24-bookworm-slim";

/** Variable that compose takes from whoever starts it. */
export const TOKEN = "WINDJAMMER_TOKEN";

export interface Service {
  /** Lines of the comment at the top, after the first words. */
  readonly about: readonly string[];
  /** Default: IMAGE. */
  readonly image: string | undefined;
  readonly command: readonly string[];
  readonly user: string;
  /** More groups of that user, by their ids. */
  readonly groups: readonly number[];
  readonly environment: Readonly<Record<string, string>>;
  /** Variables with secrets that models need: compose takes their values from whoever starts it. */
  readonly secrets: readonly string[];
  /** Whether it does not start without a token, which is never in the file. */
  readonly needsToken: boolean;
  /** Published ones; "host": it has the host's own. */
  readonly ports: readonly string[] | "host";
  /** Paths of the host, and in the container. */
  readonly volumes: readonly { readonly source: string; readonly target: string }[];
  /** Of the management API, in the container. */
  readonly adminPort: string;
}

export function serviceText(service: Service): string {
  const { about, image = IMAGE, command, user, groups, environment, secrets, needsToken } = service;
  const { ports, volumes, adminPort } = service;
  const probe = `fetch('http://127.0.0.1:${adminPort}/health/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))`;
  return [
    `# Made by \`windjammer export compose\`. ${about.join("\n# ")}`,
    "services:",
    "  windjammer:",
    `    image: ${text(image)}`,
    `    command: ${literal(text(command))}`,
    `    user: ${text(user)}`,
    ...(groups.length === 0 ? [] : [`    group_add: ${text(groups.map(String))}`]),
    "    init: true",
    "    restart: unless-stopped",
    "    stop_grace_period: 30s",
    "    environment:",
    ...Object.entries(environment).map(([name, value]) => `      ${name}: ${literal(text(value))}`),
    `      ${TOKEN}: ${text(`\${${TOKEN}${needsToken ? ":?set it to a token of at least 16 characters" : ":-"}}`)}`,
    ...secrets.map(
      (name) => `      ${name}: ${text(`\${${name}:?a header of a model at a URL takes its value}`)}`,
    ),
    ...(ports === "host"
      ? ["    network_mode: host"]
      : ["    ports:", ...ports.map((port) => `      - ${text(port)}`)]),
    "    volumes:",
    ...volumes.flatMap(({ source, target }) => [
      "      - type: bind",
      `        source: ${literal(text(source))}`,
      `        target: ${literal(text(target))}`,
    ]),
    "    healthcheck:",
    `      test: ${text(["CMD", "node", "-e", probe])}`,
    "      interval: 10s",
    "      timeout: 5s",
    "      retries: 5",
    "      start_period: 120s",
    "",
  ].join("\n");
}

/** JSON is YAML, too. */
function text(value: unknown): string {
  return JSON.stringify(value);
}

/** Compose reads `$` as the start of a variable. */
function literal(json: string): string {
  return json.replaceAll("$", () => "$$");
}
