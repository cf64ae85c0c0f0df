import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { audit, type Verdict } from './delivery.audit.js';
import type { Outcome, Published, Received } from './sequence.js';

/** A process, or something like it, that publishes events and to which clients connect. */
export interface Place {
  readonly name: string;
  /**
   * Reads the events after an id, until the signal aborts or the stream ends. Throws if the place cannot be reached.
   * @param onEvent called with every event, also with `reset` and `position`
   * @param topics `undefined`: all events
   */
  listen(
    after: string | undefined,
    onEvent: (event: Received) => void,
    signal: AbortSignal,
    topics?: readonly string[],
  ): Promise<void>;
  /** Publishes the key as data. Resolves to the id; rejects with an error whose `code` is one of {@link OUTCOMES}. */
  publish(key: string, topic?: string): Promise<string>;
}

/** What the code of an error of publish() means. */
const OUTCOMES: Readonly<Record<string, Outcome>> = {
  'broker-unavailable': 'rejected',
  'broker-busy': 'rejected',
  'hub-closed': 'unknown',
  'publish-unknown': 'unknown',
};

/** How long a publisher waits between two events, in milliseconds. */
const PUBLISH_MS = 4;
/** The number of events of one publisher that may wait for their answers. */
const IN_FLIGHT = 8;
/** How long a roaming client stays, in milliseconds: from, to. */
const STAY_MS = [150, 550] as const;
/** How long a client waits that could not connect, in milliseconds. */
const RETRY_MS = 50;
/** How long to wait for a condition, in milliseconds. Only a failed test waits as long as that. */
const LONGEST_MS = 90_000;
/** The number of events that must reach each client before and after a fault. */
const ENOUGH = 40;

export interface LoadOptions {
  /** The number of clients that stay at one place for as long as it lets them. Default: one at each place. */
  readonly staying?: number;
  /** The number of clients that move on to a random place, with the id of their last event. Default: 3. */
  readonly roaming?: number;
  /** The places at which events are published. Default: the first two. */
  readonly publishers?: readonly Pick<Place, 'name' | 'publish'>[];
  /**
   * The topics that events are published to, in turn, and those that each client wants, by its index. The first clients are those that stay. Default:
   * events without a topic, and clients that want all of them.
   */
  readonly topics?: readonly (readonly string[])[];
}

/** Clients and publishers at several places. It records what was published and what each client received. */
export class Load {
  readonly published: Published[] = [];
  readonly clients: readonly Client[];
  private readonly roaming: readonly Client[];
  /** The topics of events, in turn. */
  private readonly topics: readonly (string | undefined)[];
  /** Errors of publish() without a code that says whether the event was taken. */
  readonly unexpected: unknown[] = [];
  private readonly leaving = new AbortController();
  private readonly work: Promise<void>[];
  private publishing: Promise<void>[] = [];
  private quiet = false;
  private readonly waiting = new Set<() => void>();
  private count = 0;

  constructor(
    readonly places: readonly Place[],
    private readonly options: LoadOptions = {},
  ) {
    const { staying = places.length, roaming = 3, topics = [] } = options;
    this.topics = topics.length > 0 ? [...new Set(topics.flat())] : [undefined];
    const create = (kind: string, before: number) => (_: unknown, index: number) =>
      new Client(`${kind} ${index}`, this.notify, topics[before + index]);
    const stay = Array.from({ length: staying }, create('staying', 0));
    const roam = Array.from({ length: roaming }, create('roaming', staying));
    this.clients = [...stay, ...roam];
    this.roaming = roam;
    this.work = [
      ...stay.map((client, index) => client.stay(places, index, this.leaving.signal)),
      ...roam.map((client) => client.roam(places, this.leaving.signal)),
    ];
    this.resumePublishing();
  }

  /** Publishes nothing more, and waits for the answers. */
  async pausePublishing(): Promise<void> {
    this.quiet = true;
    await Promise.all(this.publishing);
  }

  resumePublishing(): void {
    const { publishers = this.places.slice(0, 2) } = this.options;
    this.quiet = false;
    this.publishing = publishers.map((place) => this.keepPublishing(place));
  }

  /** Waits until every client has received events, so that it misses those that follow. */
  async running(): Promise<void> {
    await this.when('every client receives events', () => this.clients.every(({ events }) => events >= ENOUGH));
    await this.roamed();
  }

  /**
   * Waits until events that are published from now on reach every client.
   * @returns how long that took, in milliseconds
   */
  async delivering(): Promise<number> {
    const since = performance.now();
    const before = this.published.length;
    const first = this.count;
    const reached = ({ newest }: Client): boolean => Number(String(newest).split('#')[1]) > first;
    await this.when('events reach every client again', () => this.clients.every(reached));
    const took = performance.now() - since;
    const acked = (): number => this.published.slice(before).filter(({ outcome }) => outcome === 'acknowledged').length;
    await this.when('publishing works again', () => acked() >= ENOUGH);
    await this.roamed();
    return took;
  }

  /** Publishes a number of events without waiting for the answers. */
  async burst(place: Pick<Place, 'name' | 'publish'>, count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.publish(place)));
  }

  /** Waits until an event is the last that every client has received which wants it. */
  async received(key: string): Promise<void> {
    const topic = this.published.findLast((each) => each.key === key)?.topic;
    await this.when(`every client receives ${key}`, () =>
      this.clients.every(({ topics, received }) => !wants(topics, topic) || received.some(({ data }) => data === key)),
    );
  }

  /** Stops the publishers, waits until every client has received the last event, and compares. */
  async verdict(): Promise<Verdict> {
    await this.pausePublishing();
    for (const topic of this.topics) {
      await this.received(await this.publishLast(topic));
    }
    await this.stop();
    const verdict = audit(this.published, this.clients);
    const unexpected = this.unexpected.map((error) => `publish() failed: ${String(error)}`);
    return { ...verdict, faults: [...verdict.faults, ...unexpected] };
  }

  /** Ends all publishers and clients. */
  async stop(): Promise<void> {
    this.leaving.abort();
    await Promise.all([this.pausePublishing(), ...this.work]);
  }

  /** Waits for a condition, which is checked at each event and at each answer of publish(). */
  readonly when = async (what: string, check: () => boolean): Promise<void> => {
    const end = performance.now() + LONGEST_MS;
    while (!check()) {
      if (performance.now() > end || this.unexpected.length > 0) {
        throw new Error(`It did not happen that ${what}: ${this}`, { cause: this.unexpected[0] });
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  };

  toString(): string {
    const clients = this.clients.map(({ name, received }) => `${name} has ${JSON.stringify(received.at(-1))}`);
    return `${clients.join(', ')}; the last published: ${JSON.stringify(this.published.slice(-3))}`;
  }

  /** Waits until every roaming client was at another place, and has moved on. */
  private async roamed(): Promise<void> {
    const before = this.roaming.map(({ visits }) => visits);
    const hasRoamed = ({ visits }: Client, index: number): boolean => visits >= (before[index] ?? 0) + 2;
    await this.when('every roaming client moves on', () => this.roaming.every(hasRoamed));
  }

  private readonly notify = (): void => {
    for (const resume of this.waiting) {
      resume();
    }
    this.waiting.clear();
  };

  private async keepPublishing(place: Pick<Place, 'name' | 'publish'>): Promise<void> {
    const inFlight = new Set<Promise<unknown>>();
    while (!this.quiet) {
      const answer = this.publish(place).finally(() => inFlight.delete(answer));
      inFlight.add(answer);
      if (inFlight.size >= IN_FLIGHT) {
        await Promise.race(inFlight);
      }
      await pause(PUBLISH_MS);
    }
    await Promise.all(inFlight);
  }

  async publish(
    place: Pick<Place, 'name' | 'publish'>,
    topic = this.topics[this.count % this.topics.length],
  ): Promise<Published> {
    const key = `${place.name}#${++this.count}`;
    const published = await place.publish(key, topic).then(
      (id): Published => ({ key, topic, outcome: 'acknowledged', id }),
      (error: unknown): Published => {
        const outcome = OUTCOMES[(error as { readonly code?: string }).code ?? ''];
        if (!outcome) {
          this.unexpected.push(error);
        }
        return { key, topic, outcome: outcome ?? 'unknown' };
      },
    );
    this.published.push(published);
    this.notify();
    return published;
  }

  /** Publishes one more event, and tries again until it is acknowledged. */
  private async publishLast(topic: string | undefined): Promise<string> {
    for (;;) {
      for (const place of this.places) {
        const { key, outcome } = await this.publish(place, topic);
        if (outcome === 'acknowledged') {
          return key;
        }
        await pause(RETRY_MS);
      }
    }
  }
}

function wants(topics: readonly string[] | undefined, topic: string | undefined): boolean {
  return topics === undefined || (topic !== undefined && topics.includes(topic));
}

/** A client that keeps the id of its last event when it connects again. */
class Client {
  readonly received: Received[] = [];
  /** The number of places that it has been at. */
  visits = 0;
  events = 0;
  /** The data of the newest event. */
  newest: unknown;
  /** Why it could not connect, or was cut off. */
  readonly errors: unknown[] = [];

  constructor(
    readonly name: string,
    private readonly notify: () => void,
    readonly topics: readonly string[] | undefined,
  ) {}

  /** Stays at a place. If the place ends the stream or is away, goes on to the next. */
  async stay(places: readonly Place[], first: number, leaving: AbortSignal): Promise<void> {
    for (let index = first; !leaving.aborted; index++) {
      await this.visit(places[index % places.length], leaving);
    }
  }

  async roam(places: readonly Place[], leaving: AbortSignal): Promise<void> {
    const [from, to] = STAY_MS;
    while (!leaving.aborted) {
      // Node.js 20 may free a signal of AbortSignal.any() before it aborts.
      const moving = new AbortController();
      const move = (): void => moving.abort();
      const timer = setTimeout(move, randomInt(from, to));
      leaving.addEventListener('abort', move, { once: true });
      await this.visit(places[randomInt(places.length)], moving.signal);
      leaving.removeEventListener('abort', move);
      clearTimeout(timer);
    }
  }

  private async visit(place: Place | undefined, signal: AbortSignal): Promise<void> {
    const after = this.received.at(-1)?.id;
    this.visits++;
    const onEvent = (event: Received): void => {
      if (!signal.aborted) {
        this.received.push(event);
        if (event.type === undefined) {
          this.events++;
          this.newest = event.data;
        }
        this.notify();
      }
    };
    await place?.listen(after, onEvent, signal, this.topics).catch((error: unknown) => this.errors.push(error));
    if (!signal.aborted) {
      await pause(RETRY_MS);
    }
  }
}
