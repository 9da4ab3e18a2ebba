// A whole server that speaks Clipper on free ports, and short ways to its APIs.
import { onTestFinished } from "vitest";
import { type RunningServer, startServer, type StartOptions } from "../../core/windjammer.ts";
import { TestContainer, type TestContainerOptions } from "./clipper-container.ts";

export interface ClipperLab {
  readonly server: RunningServer;
  /** POST to Clipper's management API: "200 Successfully …". */
  admin(call: string, body: object | string): Promise<string>;
  /** POST to the query API. */
  query(path: string, body: object | string): Promise<string>;
  /** Registers an application with a model of its name that takes this input type, version 1, and links them. */
  register(name: string, inputType: string, more?: { readonly sloMicros?: number }): Promise<void>;
  /** A container that connects to it; closed after the test. */
  container(options: Omit<TestContainerOptions, "endpoint">): TestContainer;
  /** Resolves when `get_all_containers` shows so many. */
  untilContainers(count: number): Promise<void>;
}

export async function openClipper(options: StartOptions = {}): Promise<ClipperLab> {
  const server = await startServer({
    port: 0,
    adminPort: 0,
    clipper: { adminPort: 0, rpcPort: 0 },
    ...options,
  });
  onTestFinished(() => server.close());
  const { clipper } = server;
  if (clipper === undefined) throw new Error("the server does not speak Clipper");
  const admin: ClipperLab["admin"] = (call, body) => post(`${clipper.adminUrl}/admin/${call}`, body);
  return {
    server,
    admin,
    query: (path, body) => post(server.queryUrl + path, body),
    register: async (name, inputType, { sloMicros = 60_000_000 } = {}) => {
      const application = {
        name,
        input_type: inputType,
        default_output: "-1.0",
        latency_slo_micros: sloMicros,
      };
      await must(admin("add_app", application));
      await must(admin("add_model", modelOf(name, "1", inputType)));
      await must(admin("add_model_links", { app_name: name, model_names: [name] }));
    },
    container: (more) => {
      const container = new TestContainer({ endpoint: clipper.rpcEndpoint ?? "", ...more });
      onTestFinished(() => container.close());
      return container;
    },
    untilContainers: async (count) => {
      const end = performance.now() + 60_000;
      for (;;) {
        const text = await admin("get_all_containers", { verbose: false });
        if ((JSON.parse(text.slice(4)) as unknown[]).length === count) return;
        if (performance.now() > end) throw new Error(`${text} are not ${count} containers within 60 s`);
        await new Promise((resolve) => {
          setTimeout(resolve, 20);
        });
      }
    },
  };
}

async function post(url: string, body: object | string): Promise<string> {
  const reply = await fetch(url, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return `${reply.status} ${await reply.text()}`;
}

async function must(reply: Promise<string>): Promise<void> {
  const text = await reply;
  if (!text.startsWith("200 ")) throw new Error(text);
}

/** What Clipper's Python library sends to register a model. */
export function modelOf(name: string, version: string, inputType: string): object {
  return {
    model_name: name,
    model_version: version,
    labels: [],
    input_type: inputType,
    container_name: "NO_CONTAINER",
    model_data_path: "DEPRECATED",
    batch_size: -1,
  };
}
