import type { Msg, MsgHdrs, NatsConnection, Payload, Subscription } from '@nats-io/transport-node';
import { Deadline } from '../util/deadline.js';
import { textOf } from '../util/error-text.js';
import type { DriverFunctions } from './dialer.js';
import { NoRespondersError, PermissionError, UnansweredError } from './nats-errors.js';

/** A request that was sent. At most one of its methods is called, once. */
export interface Request {
  onReply(message: Msg): void;
  /** Nobody listens to the subject: nothing was done. */
  onNoResponders(): void;
  /** It was not sent, or the user may not send it. */
  onRefused(error: unknown): void;
  /** The connection is lost: it may or may not have been received. */
  onLost(reason: string): void;
}

/** The name and the value of a header. */
export type Header = readonly [name: string, value: string];

/** One connection to one server, from the time at which it is established until it is lost. What is sent here never reaches another server. */
export class Session {
  readonly serverId: string;
  readonly version: string;
  /** Whether the server belongs to a cluster. */
  readonly isClustered: boolean;
  /** How many bytes a message may have. */
  readonly mostBytes: number;
  private readonly requests = new Map<string, { readonly subject: string; readonly request: Request }>();
  private readonly inboxPrefix: string | undefined;
  private readonly inbox: string;
  private readonly subscription: Subscription;
  private readonly client: number | undefined;
  private count = 0;
  private lost: string | undefined;

  /** @param timeout how long a request may take, in milliseconds */
  constructor(
    private readonly nats: NatsConnection,
    private readonly driver: DriverFunctions,
    private readonly timeout: number,
  ) {
    const { info } = nats;
    this.serverId = info?.server_id ?? '';
    this.isClustered = info?.cluster !== undefined;
    this.version = info?.version ?? '';
    this.mostBytes = info?.max_payload ?? Number.POSITIVE_INFINITY;
    this.client = info?.client_id;
    // The application may have chosen it because its user may not subscribe to others.
    const { options } = nats as { readonly options?: { readonly inboxPrefix?: string } };
    this.inboxPrefix = options?.inboxPrefix;
    this.inbox = `${driver.createInbox(this.inboxPrefix)}.`;
    this.subscription = nats.subscribe(`${this.inbox}*`, {
      callback: (error, message) => (error ? this.lose(textOf(error)) : this.onReply(message)),
    });
  }

  /** Whether requests can be sent. The driver keeps what it sends without a connection, and sends it on the next one, before it says that there is one. */
  get usable(): boolean {
    const { info } = this.nats;
    return this.lost === undefined && info?.client_id === this.client && info?.server_id === this.serverId;
  }

  /** Sends a request. Check before that the session is usable. @returns a token for {@link forget} */
  send(subject: string, payload: Payload, request: Request, header?: Header): string {
    const token = (this.count++).toString(36);
    this.requests.set(token, { subject, request });
    try {
      this.nats.publish(subject, payload, { reply: `${this.inbox}${token}`, headers: this.headersOf(header) });
    } catch (error) {
      this.requests.delete(token);
      request.onRefused(error);
    }
    return token;
  }

  /** Ignores the reply to a request. */
  forget(token: string): void {
    this.requests.delete(token);
  }

  /** Sends a request, and resolves to its reply. Rejects if there is none in time. */
  request(subject: string, payload: Payload = '', header?: Header): Promise<Msg> {
    return new Promise((resolve, reject) => {
      if (!this.usable) {
        reject(new Error(this.lost ?? 'the connection is lost'));
        return;
      }
      const settle = (settled: () => void): void => {
        deadline.clear();
        settled();
      };
      const fail = (error: unknown): void => settle(() => reject(error));
      const deadline = new Deadline(() => {
        this.forget(token);
        fail(new UnansweredError(`it did not answer within ${this.timeout} ms`));
      });
      deadline.start(this.timeout);
      const request: Request = {
        onReply: (message) => settle(() => resolve(message)),
        onNoResponders: () => fail(new NoRespondersError()),
        onRefused: fail,
        onLost: (reason) => fail(new UnansweredError(reason)),
      };
      const token = this.send(subject, payload, request, header);
    });
  }

  /**
   * Sends a request that has several replies.
   * @param onReply returns whether more replies follow. If none comes for a while, the promise rejects
   */
  requestMany(subject: string, payload: Payload, onReply: (message: Msg) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const inbox = this.driver.createInbox(this.inboxPrefix);
      const end = (settled: () => void): void => {
        deadline.clear();
        subscription.unsubscribe();
        settled();
      };
      const fail = (error: Error): void => end(() => reject(error));
      const deadline = new Deadline(() => fail(new UnansweredError(`it did not answer within ${this.timeout} ms`)));
      const subscription = this.nats.subscribe(inbox, {
        callback: (error, message) => {
          deadline.clear();
          deadline.start(this.timeout);
          if (error) {
            fail(new PermissionError(error.message));
          } else if (!onReply(message)) {
            end(resolve);
          }
        },
      });
      deadline.start(this.timeout);
      this.nats.publish(subject, payload, { reply: inbox });
    });
  }

  /** The user may not publish to a subject. */
  onForbidden(subject: string, reason: string): void {
    for (const [token, each] of this.requests) {
      if (each.subject === subject) {
        this.requests.delete(token);
        each.request.onRefused(new PermissionError(reason));
      }
    }
  }

  /** Ends the session. */
  lose(reason: string): void {
    if (this.lost === undefined) {
      this.lost = reason;
      this.subscription.unsubscribe();
      const requests = [...this.requests.values()];
      this.requests.clear();
      for (const { request } of requests) {
        request.onLost(reason);
      }
    }
  }

  private onReply(message: Msg): void {
    const token = message.subject.slice(this.inbox.length);
    const sent = this.requests.get(token);
    if (sent) {
      this.requests.delete(token);
      if (message.data.length === 0 && message.headers?.code === 503) {
        sent.request.onNoResponders();
      } else {
        sent.request.onReply(message);
      }
    }
  }

  /** Headers cost NATS more, so that only what needs them has some. */
  private headersOf(header: Header | undefined): MsgHdrs | undefined {
    if (header === undefined) {
      return undefined;
    }
    const headers = this.driver.headers();
    headers.set(...header);
    return headers;
  }
}
