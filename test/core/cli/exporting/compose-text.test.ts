// The text of a compose file, read as YAML.
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { type Service, serviceText } from "../../../../core/cli/exporting/compose-text.ts";

const SERVICE: Service = {
  about: ["It runs a server.", "Stop the other one."],
  image: undefined,
  command: ["windjammer", "start"],
  user: "1000:1000",
  groups: [],
  environment: { HOME: "/state" },
  secrets: [],
  needsToken: true,
  ports: ["127.0.0.1:1337:1337"],
  volumes: [{ source: "/var/state", target: "/state" }],
  adminPort: "1338",
};
const read = (service: Partial<Service>): unknown => parse(serviceText({ ...SERVICE, ...service }));
const shown = (fields: object): unknown => ({ services: { windjammer: expect.objectContaining(fields) } });

describe("a compose file", () => {
  test("is one service, with the default image, published ports and a health check of the management API", () => {
    expect(read({})).toEqual(
      shown({
        image: "node:24-bookworm-slim",
        command: ["windjammer", "start"],
        ports: ["127.0.0.1:1337:1337"],
        healthcheck: expect.objectContaining({
          test: ["CMD", "node", "-e", expect.stringContaining("127.0.0.1:1338/health/ready")],
        }),
      }),
    );
    expect(serviceText(SERVICE)).toMatch(
      /^# Made by .* It runs a server\.\n# Stop the other one\.\nservices:/,
    );
  });

  test("has nothing of networks and groups where none are named", () => {
    const { services } = read({}) as { readonly services: { readonly windjammer: object } };
    expect(Object.keys(services.windjammer)).not.toContain("network_mode");
    expect(Object.keys(services.windjammer)).not.toContain("group_add");
  });

  test("gives a server with the host's network no ports, and its user more groups", () => {
    const service = read({ ports: "host", groups: [998] });
    expect(service).toEqual(shown({ network_mode: "host", group_add: ["998"] }));
    expect(JSON.stringify(service)).not.toContain('"ports"');
  });

  test("keeps dollars in paths from being read as variables, and quotes as they are", () => {
    const path = `/a "b"/$HOME`;
    const service = { environment: { HOME: path }, volumes: [{ source: path, target: path }] };
    const doubled = `/a "b"/$$HOME`;
    expect(read(service)).toEqual(
      shown({
        environment: expect.objectContaining({ HOME: doubled }),
        volumes: [{ type: "bind", source: doubled, target: doubled }],
      }),
    );
  });

  test("names the variables that models need, and does not start without them", () => {
    expect(read({ secrets: ["WINDJAMMER_SECRET_SPAM"] })).toEqual(
      shown({
        environment: expect.objectContaining({
          WINDJAMMER_SECRET_SPAM: expect.stringMatching(/^\$\{WINDJAMMER_SECRET_SPAM:\?[^${}]+\}$/),
        }),
      }),
    );
  });

  test.each([
    [true, "${WINDJAMMER_TOKEN:?set it to a token of at least 16 characters}"],
    [false, "${WINDJAMMER_TOKEN:-}"],
  ])("holds no token: compose asks for it, or takes one (%s)", (needsToken, expected) => {
    expect(read({ needsToken })).toEqual(
      shown({ environment: { HOME: "/state", WINDJAMMER_TOKEN: expected } }),
    );
  });
});
