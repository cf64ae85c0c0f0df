import { Recorder } from '../../support/events.js';
import { TcpProxy } from '../../support/tcp-proxy.js';
import { BODY, type Report, type Settings } from './clients.js';
import type { Seen } from './feed.js';
import type { ClientName, Place, Running } from './places.js';

/** How many refused requests show that a client goes on for ever. */
const FOR_EVER = 5;
/** After this time, in milliseconds, what a test waits for will not happen. */
const LONGEST_MS = 120_000;
/** What a gateway responds with while the server is away: one as nginx does by itself, and one as docs/deploying.md configures it. */
const GATEWAY = / 502 Bad Gateway|event: shutdown/;

/** A client that a test runs. */
export interface Lane {
  readonly name: string;
  readonly client: ClientName;
  readonly place: Place;
  readonly settings?: Settings;
}

interface Timed extends Seen {
  /** When the server received it, in milliseconds. */
  readonly at: number;
}

/** One client with a proxy of its own in front of the server, and all that is seen of it. */
export class Stage {
  readonly items: number[] = [];
  readonly requests: Timed[] = [];
  /** How often the client has reported that the connection was lost or refused. */
  problems = 0;
  /** The stream has ended on the server. */
  hasLeft = false;
  over: Extract<Report, { readonly kind: 'over' }> | undefined;
  /** How often a gateway has responded in place of the server. */
  gatewayResponses = 0;
  /** The waits before each attempt, in milliseconds, of clients that report them. */
  private readonly waits: number[] = [];
  private mark = 0;
  /** Where the next response is cut. */
  private cutAt: string | undefined;
  private readonly news = new Recorder<void>();
  private running: Running | undefined;
  private proxy: TcpProxy | undefined;

  constructor(
    readonly who: string,
    readonly lane: Lane,
  ) {}

  get client(): Running {
    return existing(this.running);
  }

  get network(): TcpProxy {
    return existing(this.proxy);
  }

  /** Puts a network between the client and a port. Resolves to the port that the client sees. */
  async behindNetwork(port: number): Promise<number> {
    this.proxy = await TcpProxy.start(port, (data) => this.pass(data));
    return this.proxy.port;
  }

  /** Starts the client. */
  async start(port: number, path: string, settings?: Settings): Promise<void> {
    const { client, place } = this.lane;
    const url = `http://127.0.0.1:${port}${path}/${this.who}`;
    this.running = await place.start(client, url, { ...this.lane.settings, ...settings }, (report) => this.add(report));
  }

  async stop(): Promise<void> {
    await this.running?.stop();
    await this.proxy?.stop();
  }

  onRequest(request: Seen): void {
    this.requests.push({ ...request, at: performance.now() });
    this.news.add();
  }

  onLeft(): void {
    this.hasLeft = true;
    this.news.add();
  }

  /** From now on, requests count as requests after the fault. */
  begin(): void {
    this.mark = this.requests.length;
    this.hasLeft = false;
  }

  /** Closes the connection in the middle of the record that contains a text. */
  cutWithin(text: string): void {
    this.cutAt = text;
  }

  /** The requests after the fault. A client of WebSockets learns with a HEAD request why it was refused. */
  get later(): readonly Timed[] {
    return this.requests.slice(this.mark).filter(({ method }) => method !== 'HEAD');
  }

  /** Whether the server has accepted a request after the fault. */
  get isBack(): boolean {
    return this.later.some(({ status }) => status === 200);
  }

  /** Waits until something is true, which a report of the client or an event of the server changes. */
  async until(isTrue: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + LONGEST_MS;
    const timer = setTimeout(() => this.news.add(), LONGEST_MS);
    while (!isTrue()) {
      if (performance.now() >= deadline) {
        const { items, requests, over } = this;
        throw new Error(
          `${this.who} waits for ${what}: ${JSON.stringify({ items: items.slice(-9), requests, over }, null, 1)}`,
        );
      }
      await this.news.count(this.news.seen.length + 1);
    }
    clearTimeout(timer);
  }

  /** Waits until the client is back, has given up, or shows that it would go on for ever. */
  async untilSettled(): Promise<void> {
    await this.until(
      () => this.isBack || this.over !== undefined || this.later.length >= FOR_EVER,
      'a request or the end',
    );
  }

  /** Says in words what the client has made of items from 1 to a number. */
  outcome(last: number): string {
    if (this.over) {
      return this.over.how === 'ended' ? 'ends as if the stream were complete' : 'gives up with an error';
    }
    if (!this.items.includes(last)) {
      return 'asks again for ever';
    }
    const missing = last - new Set(this.items).size;
    const twice = this.items.length - new Set(this.items).size;
    const faults = [missing && `loses ${missing} of ${last}`, twice && `receives ${twice} of ${last} twice`];
    const problems = faults.filter(Boolean).join(' and ');
    return problems ? `resumes, but ${problems}` : 'resumes without loss';
  }

  /** Whether the client waits longer before each attempt, although each of them has succeeded. */
  get waitsLonger(): boolean {
    return this.waits.length > 2 && this.waits.every((ms, i) => i === 0 || ms > (this.waits[i - 1] ?? 0));
  }

  /** Whether a later request repeats the body of the first. */
  get repeatsBody(): boolean {
    return this.later.some(({ body }) => body === JSON.stringify(BODY));
  }

  private add(report: Report): void {
    if (report.kind === 'item') {
      this.items.push(report.n);
    } else if (report.kind === 'problem') {
      this.problems++;
    } else if (report.kind === 'wait') {
      this.waits.push(report.ms);
    } else {
      this.over ??= report;
    }
    this.news.add();
  }

  private pass(data: Buffer): Buffer {
    if (GATEWAY.test(data.toString('latin1'))) {
      this.gatewayResponses++;
      this.news.add();
    }
    const at = this.cutAt === undefined ? -1 : data.indexOf(this.cutAt);
    if (at < 0) {
      return data;
    }
    this.cutAt = undefined;
    return data.subarray(0, at + 1);
  }
}

function existing<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new Error('The client was not started');
  }
  return value;
}
