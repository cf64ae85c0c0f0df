import { isLastEventId } from './last-event-id.js';
import type { FirstMessage } from './transport/first-message.js';
import type { Message } from './transport/inbox.js';
import type { WebSocketTransport } from './transport/websocket.transport.js';

/** How long a client may take to say after which id it goes on, in milliseconds. */
const WAIT_MS = 1_000;

/** Waits for the first message of a client, `{"lastEventId":"…"}`, where it could not say so in its URL. */
export class Resumption implements FirstMessage {
  /** Whether a handler waits for the id. */
  awaited = false;
  private timer: NodeJS.Timeout | undefined;
  private late = false;
  private resolve: ((id: string | undefined) => void) | undefined;
  private readonly known = new Promise<string | undefined>((resolve) => {
    this.resolve = resolve;
  });

  constructor(private readonly transport: WebSocketTransport) {
    transport.hearFirst(this);
  }

  /** Resolves to what the client goes on after; nothing when it says so, says something else, or says nothing in time. */
  id(): Promise<string | undefined> {
    return this.known;
  }

  begin(): void {
    this.timer = setTimeout(() => {
      this.late = true;
      this.resolve?.(undefined);
    }, WAIT_MS).unref();
  }

  take(message: Message): boolean {
    const said = parsed(message);
    const wanted = said !== undefined;
    if (wanted && said.lastEventId !== undefined && this.awaited) {
      if (this.late) {
        this.transport.refuse('the id to go on after came too late');
      } else if (!isLastEventId(said.lastEventId)) {
        this.transport.refuse('malformed lastEventId');
      }
    }
    this.settle(said?.lastEventId);
    return wanted;
  }

  end(): void {
    this.settle(undefined);
  }

  private settle(id: unknown): void {
    clearTimeout(this.timer);
    this.resolve?.(isLastEventId(id) && id !== '' ? (id as string) : undefined);
  }
}

/** `{"lastEventId":"…"}`, or `{}` of a client that begins. */
function parsed(message: Message): { readonly lastEventId?: unknown } | undefined {
  if (typeof message !== 'string') {
    return undefined;
  }
  try {
    const value: unknown = JSON.parse(message);
    const known =
      typeof value === 'object' &&
      value !== null &&
      !Array.isArray(value) &&
      Object.keys(value).every((key) => key === 'lastEventId');
    return known ? value : undefined;
  } catch {
    // Not JSON: a message like any other.
    return undefined;
  }
}
