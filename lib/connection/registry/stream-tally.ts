import type { StreamCloseCode } from '../../util/errors.js';
import type { OpenStream } from '../open-stream.js';
import type { StreamConnection } from '../stream-connection.js';

/** How long something took, in milliseconds. */
interface StreamTimes {
  /** How often it was measured. */
  readonly count: number;
  readonly sum: number;
  readonly max: number;
}

/** What streams have done up to now. */
interface StreamFigures {
  /** Streams that have sent their head, or have ended without. */
  readonly opened: number;
  /** Streams whose handler was called and that are not over. It goes up and down; everything else only goes up. */
  readonly open: number;
  /** Streams that are over, by the code of their {@link StreamCloseReason}; codes that have not occurred are left out. */
  readonly ended: Readonly<Partial<Record<StreamCloseCode, number>>>;
  /** Streams whose client went on after a `Last-Event-ID`. */
  readonly resumed: number;
  /** Chunks, without those that were dropped. What a hub itself has to say (`reset`, `lagged`) is one too; a heartbeat is none. */
  readonly chunks: number;
  /** Bytes of the bodies, as their format has them: before compression, without the framing of HTTP, with the frames of WebSocket. */
  readonly bytes: number;
  /** Chunks that a client was not given, because it is too slow (`overflow`). */
  readonly dropped: number;
  /** How often a client was told so. */
  readonly lagged: number;
  /** From when the handler was called to the head of the answer. */
  readonly timeToFirstByte: StreamTimes;
  /** From when the handler was called to the end, of streams that are over. */
  readonly duration: StreamTimes;
}

/** The streams that have these in common. */
export interface StreamGroup extends StreamFigures {
  /** The class and method that serve them: `Feed.prices`. */
  readonly route: string;
  /** The name of the format. `undefined`: of streams in which the first chunk has still to decide, or never did. */
  readonly format: string | undefined;
  readonly protocol: StreamConnection['protocol'];
}

/** What the streams of an application have done since it was started: see {@link StreamRegistry.snapshot}. */
export interface StreamSnapshot {
  readonly totals: StreamFigures;
  readonly groups: readonly StreamGroup[];
}

/** What is known of one stream. */
export type MeteredStream = Pick<
  OpenStream,
  'route' | 'format' | 'protocol' | 'lastEventId' | 'beganAt' | 'openedAt' | 'body'
>;

class Times implements StreamTimes {
  count = 0;
  sum = 0;
  max = 0;

  add({ count, sum, max }: StreamTimes): void {
    this.count += count;
    this.sum += sum;
    this.max = Math.max(this.max, max);
  }
}

/** Figures that are being added up. */
class Tally implements StreamFigures {
  opened = 0;
  open = 0;
  readonly ended: Partial<Record<StreamCloseCode, number>> = {};
  resumed = 0;
  chunks = 0;
  bytes = 0;
  dropped = 0;
  lagged = 0;
  readonly timeToFirstByte = new Times();
  readonly duration = new Times();

  /** Adds what a stream has done so far. */
  count({ body, openedAt, beganAt }: MeteredStream): void {
    this.chunks += body.chunks;
    this.bytes += body.bytes;
    this.dropped += body.lost?.dropped ?? 0;
    this.lagged += body.lost?.lagged ?? 0;
    if (openedAt !== undefined) {
      this.timeToFirstByte.add(once(openedAt - beganAt));
    }
  }

  /** Counts it as opened. Only then is its format known: before, it may have been counted with others. */
  begin({ lastEventId = '' }: MeteredStream): void {
    this.opened++;
    this.resumed += lastEventId === '' ? 0 : 1;
  }

  end(code: StreamCloseCode, duration: number): void {
    this.ended[code] = (this.ended[code] ?? 0) + 1;
    this.duration.add(once(duration));
  }

  add(other: StreamFigures): void {
    for (const name of ['opened', 'open', 'resumed', 'chunks', 'bytes', 'dropped', 'lagged'] as const) {
      this[name] += other[name];
    }
    for (const [code, count] of Object.entries(other.ended) as [StreamCloseCode, number][]) {
      this.ended[code] = (this.ended[code] ?? 0) + count;
    }
    this.timeToFirstByte.add(other.timeToFirstByte);
    this.duration.add(other.duration);
  }
}

/** The streams that have these in common, and their figures. */
interface Group extends Pick<StreamGroup, 'route' | 'format' | 'protocol'> {
  readonly figures: Tally;
}

/** Figures of streams, by route, format and protocol. */
export class StreamTally {
  private readonly groups = new Map<string, Group[]>();

  /** Counts a stream that is over. */
  ended(stream: MeteredStream, code: StreamCloseCode, duration: number): void {
    const group = this.figuresOf(stream);
    group.begin(stream);
    group.count(stream);
    group.end(code, duration);
  }

  /** All figures, with those of streams that are open. */
  snapshot(open: Iterable<MeteredStream>): StreamSnapshot {
    const now = new StreamTally();
    for (const group of this.all()) {
      now.figuresOf(group).add(group.figures);
    }
    for (const stream of open) {
      const group = now.figuresOf(stream);
      group.open++;
      if (stream.openedAt !== undefined) {
        group.begin(stream);
      }
      group.count(stream);
    }
    const totals = new Tally();
    const groups = [...now.all()].map(({ figures, ...group }) => {
      totals.add(figures);
      return { ...group, ...figures };
    });
    return { totals, groups };
  }

  private *all(): Iterable<Group> {
    for (const groups of this.groups.values()) {
      yield* groups;
    }
  }

  private figuresOf({ route, format, protocol }: Pick<StreamGroup, 'route' | 'format' | 'protocol'>): Tally {
    let groups = this.groups.get(route);
    if (!groups) {
      groups = [];
      this.groups.set(route, groups);
    }
    let group = groups.find((each) => each.format === format && each.protocol === protocol);
    if (!group) {
      group = { route, format, protocol, figures: new Tally() };
      groups.push(group);
    }
    return group.figures;
  }
}

function once(ms: number): StreamTimes {
  return { count: 1, sum: ms, max: ms };
}
