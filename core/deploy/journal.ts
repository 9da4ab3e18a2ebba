// The events of one running deployment: made durable first, then shown to followers and listeners, in order.
import type { JsonValue } from "../../containers/protocol.ts";
import type { Deployment, DeploymentEvent, DeploymentStep } from "../types.ts";

/** Said by the steps. */
export interface Remark {
  readonly step: DeploymentStep;
  /** Default "info". */
  readonly level?: DeploymentEvent["level"];
  readonly message: string;
  readonly details?: { readonly [key: string]: JsonValue };
}

export interface JournalParts {
  /** Makes an event durable. */
  readonly persist: (event: DeploymentEvent) => Promise<void>;
  /** Called at once after that; must not throw. */
  readonly deliver: (event: DeploymentEvent) => void;
}

const MAX_MESSAGE_LENGTH = 4000;

/** Events of a deployment while it runs. */
export class Journal {
  readonly #parts: JournalParts;
  readonly #events: DeploymentEvent[] = [];
  #sequence: number;
  #tail: Promise<void> = Promise.resolve();
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();
  #ended: Deployment | undefined;

  constructor(parts: JournalParts, past: readonly DeploymentEvent[] = []) {
    this.#parts = parts;
    this.#events.push(...past);
    this.#sequence = past.at(-1)?.sequence ?? 0;
  }

  /** Resolves when the event is durable and delivered. @throws when it could not be made durable; it is delivered all the same */
  async say(remark: Remark): Promise<void> {
    const event: DeploymentEvent = {
      sequence: ++this.#sequence,
      at: new Date().toISOString(),
      step: remark.step,
      level: remark.level ?? "info",
      message: remark.message.slice(0, MAX_MESSAGE_LENGTH),
      ...(remark.details === undefined ? {} : { details: remark.details }),
    };
    const said = this.#tail.then(() => this.#write(event));
    this.#tail = said.catch(() => undefined);
    return said;
  }

  async #write(event: DeploymentEvent): Promise<void> {
    try {
      await this.#parts.persist(event);
    } finally {
      this.#events.push(event);
      this.#parts.deliver(event);
      this.#notify();
    }
  }

  /** No more events; followers end. */
  end(deployment: Deployment): void {
    this.#ended = deployment;
    this.#notify();
  }

  #notify(): void {
    const woken = this.#wake;
    this.#wake = Promise.withResolvers();
    woken.resolve();
  }

  /** Resolves with the record when the deployment has ended. */
  async ended(): Promise<Deployment> {
    while (this.#ended === undefined) await this.#wake.promise;
    return this.#ended;
  }

  /** All events, then those that come; ends with the deployment or the signal. */
  async *follow(signal?: AbortSignal): AsyncGenerator<DeploymentEvent, void, undefined> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = (): void => aborted.resolve();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const isAborted = (): boolean => signal?.aborted === true;
      for (let next = 0; !isAborted();) {
        const event = this.#events[next];
        if (event !== undefined) {
          next++;
          yield event;
        } else if (this.#ended === undefined) {
          await Promise.race([this.#wake.promise, aborted.promise]);
        } else {
          return;
        }
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }
}
