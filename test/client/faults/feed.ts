import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Header,
  HttpException,
  Injectable,
  Param,
  RequestMethod,
  UseGuards,
} from '@nestjs/common';
import {
  type Broker,
  type BrokerEntry,
  type BrokerListener,
  type BrokerRecord,
  ConnectedStream,
  event,
  Hub,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../../lib/index.js';
import { startApp, type TestApp } from '../../support/app.js';
import { hubOf } from '../../support/hub.js';

/** A request of a client, as the server has seen it. */
export interface Seen {
  /** The name of the client. */
  readonly who: string;
  readonly method: string;
  /** The id after which the client wants to resume. */
  readonly after: string | undefined;
  /** The body, as JSON. Empty: there is none. */
  readonly body: string;
  readonly token: string | undefined;
  /** The status with which it was refused, or 200. */
  readonly status: number;
}

/** An item that was published to a client. */
export interface Published {
  readonly who: string;
  readonly n: number;
}

/** How the server refuses the next requests of a client. */
export interface Refusal {
  readonly status: number;
  /** The value of `Retry-After`, in seconds. */
  readonly retryAfter?: number;
  /** How many requests are refused. */
  readonly times: number;
}

/** What a server does, and whom it notifies. */
export interface FeedEvents {
  onRequest(request: Seen): void;
  /** A client has disconnected, or its stream has ended. */
  onLeft(who: string): void;
}

/** How long the server asks a client to wait before it connects again, in milliseconds. */
const RETRY_MS = 20;
/** How often a silent connection gets a heartbeat, in milliseconds. */
const HEARTBEAT_MS = 100;
/** An empty page. A browser lets only pages that come from this machine open WebSockets to it. */
export const PAGE = '<!doctype html><title>page</title>';
const HUB = StreamingModule.registerHub({ name: 'feed', history: { limit: 100_000, ttl: 3_600_000 } });

/** Keeps a log whose epoch is always the same, as if it had survived the process before. */
class KeptBroker implements Broker {
  private readonly logs = new Map<string, { records: BrokerRecord[]; listeners: Set<BrokerListener> }>();

  async open(name: string): Promise<void> {
    this.log(name);
  }

  async append(name: string, entry: BrokerEntry): Promise<BrokerRecord> {
    const { records, listeners } = this.log(name);
    const record = { ...entry, epoch: 'kept', offset: records.length + 1, time: Date.now() };
    records.push(record);
    for (const notify of listeners) {
      notify([record]);
    }
    return record;
  }

  async tail(name: string, listener: BrokerListener) {
    const { records, listeners } = this.log(name);
    const notify: BrokerListener = (added) => listener(added);
    listeners.add(notify);
    return { epoch: 'kept', offset: records.length, stop: () => void listeners.delete(notify) };
  }

  async read(name: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.log(name).records.slice(after, after + count);
  }

  async close(): Promise<void> {
    this.logs.clear();
  }

  private log(name: string) {
    const log = this.logs.get(name) ?? { records: [], listeners: new Set() };
    this.logs.set(name, log);
    return log;
  }
}

/** A server with a stream for each client. */
export class Feed {
  private constructor(
    private readonly app: TestApp,
    private readonly hub: Hub<{ readonly n: number }>,
    private readonly gate: GateState,
  ) {}

  /** @param published what the log contains already */
  static async start(published: readonly Published[], events: FeedEvents): Promise<Feed> {
    const gate = new GateState(events);
    const app = await startApp('express', {
      controllers: [Pages, controllerOf(gate)],
      imports: [HUB],
      options: {
        broker: new KeptBroker(),
        heartbeat: HEARTBEAT_MS,
        shutdown: { grace: 1_000, retry: RETRY_MS },
        // nginx forwards the host without its port.
        websocket: { origins: '*' },
      },
    });
    const feed = new Feed(app, hubOf(app), gate);
    for (const { who, n } of published) {
      await feed.publish(who, n);
    }
    return feed;
  }

  get port(): number {
    return this.app.port;
  }

  async publish(who: string, n: number): Promise<void> {
    await this.hub.publish({ n }, { topic: who });
  }

  /** Refuses the next requests of a client. */
  refuse(who: string, refusal: Refusal): void {
    this.gate.refusals.set(who, { ...refusal });
  }

  /** From now on, each request of a client needs this token. */
  demand(who: string, token: string): void {
    this.gate.tokens.set(who, token);
  }

  close(): Promise<void> {
    return this.app.close();
  }
}

interface Request {
  readonly method: string;
  readonly url: string;
  readonly body?: unknown;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

class GateState {
  readonly refusals = new Map<string, { status: number; retryAfter?: number; times: number }>();
  readonly tokens = new Map<string, string>();
  /** How the last request of each client was refused. */
  private readonly last = new Map<string, Omit<Refusal, 'times'> | undefined>();

  constructor(readonly events: FeedEvents) {}

  /** Returns how a request is refused, or `undefined` if it is not. */
  check({ method, url, headers, body }: Request): Omit<Refusal, 'times'> | undefined {
    const who = /\/(?:feed|plain)\/([^/?]+)/.exec(url)?.[1] ?? '';
    const token = headers.authorization?.replace('Bearer ', '') ?? /[?&]token=(\w+)/.exec(url)?.[1];
    const refusal = this.refusals.get(who);
    let refused: Omit<Refusal, 'times'> | undefined;
    if (method === 'HEAD') {
      // A client of WebSockets asks in this way why it was refused, as browsers do not say it.
      refused = this.last.get(who);
    } else if (refusal && refusal.times > 0) {
      refusal.times--;
      refused = refusal;
    } else if (this.tokens.has(who) && token !== this.tokens.get(who)) {
      refused = { status: 401 };
    }
    this.last.set(who, refused);
    const [, id] = /last-event-id\.([^,]+)/.exec(headers['sec-websocket-protocol'] ?? '') ?? [];
    const text = body === undefined ? '' : JSON.stringify(body);
    const after = headers['last-event-id'] ?? id;
    this.events.onRequest({ who, method, after, body: text, token, status: refused?.status ?? 200 });
    return refused;
  }
}

/** The pages in which clients run. */
@Controller()
class Pages {
  @Get()
  @Header('Content-Type', 'text/html')
  page() {
    return PAGE;
  }
}

function controllerOf(gate: GateState) {
  @Injectable()
  class Gate implements CanActivate {
    canActivate(context: ExecutionContext): boolean {
      const http = context.switchToHttp();
      const refused = gate.check(http.getRequest<Request>());
      if (refused?.retryAfter) {
        http
          .getResponse<{ setHeader(name: string, value: string): void }>()
          .setHeader('Retry-After', String(refused.retryAfter));
      }
      if (refused) {
        throw new HttpException('refused', refused.status);
      }
      return true;
    }
  }

  @Controller()
  @UseGuards(Gate)
  class Streams {
    constructor(@InjectHub('feed') private readonly hub: Hub<{ readonly n: number }>) {}

    @Stream('feed/:who', { format: ['sse', 'ndjson'] })
    follow(
      @Param('who') who: string,
      @LastEventId() after: string | undefined,
      @ConnectedStream() stream: StreamConnection,
    ) {
      stream.hooks({ onClose: () => gate.events.onLeft(who) });
      void stream.send(event({ retry: RETRY_MS }));
      return this.hub.subscribe({ topic: who, after });
    }

    @Stream('feed/:who', { format: 'sse', method: RequestMethod.POST })
    posted(
      @Param('who') who: string,
      @LastEventId() after: string | undefined,
      @ConnectedStream() stream: StreamConnection,
    ) {
      return this.follow(who, after, stream);
    }

    /** A stream without ids, such as an answer of a model. */
    @Stream('plain/:who', { format: 'sse', method: RequestMethod.POST })
    async *plain() {
      yield event({ retry: RETRY_MS, data: { n: 1 } });
      await new Promise(() => undefined);
    }
  }
  return Streams;
}
