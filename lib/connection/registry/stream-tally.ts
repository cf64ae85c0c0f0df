import type { StreamCloseCode } from '../../util/errors.js';
import type { OpenStream } from '../open-stream.js';
import type { StreamConnection } from '../stream-connection.js';

/** Statistics of a duration, in milliseconds. */
interface StreamTimes {
  /** The number of measurements. */
  readonly count: number;
  readonly sum: number;
  readonly max: number;
}

/** Figures about streams. */
interface StreamFigures {
  /** The number of streams that have sent their head, or have ended without one. */
  readonly opened: number;
  /** The number of streams whose handler was called, and that have not ended. All other figures never decrease. */
  readonly open: number;
  /** The number of streams that have ended, by the code of their {@link StreamCloseReason}. Codes that have not occurred are left out. */
  readonly ended: Readonly<Partial<Record<StreamCloseCode, number>>>;
  /** The number of streams whose client has sent a `Last-Event-ID`. */
  readonly resumed: number;
  /** The number of chunks, without dropped ones. Events of a hub itself (`reset`, `lagged`) count as chunks, heartbeats do not. */
  readonly chunks: number;
  /** The number of bytes of bodies, before compression. It includes the frames of WebSocket, but not the framing of HTTP. */
  readonly bytes: number;
  /** The number of chunks that were dropped because a client was too slow (option `overflow`). */
  readonly dropped: number;
  /** The number of `lagged` events that reported dropped chunks to clients. */
  readonly lagged: number;
  /** The time from the call of the handler to the head of the response. */
  readonly timeToFirstByte: StreamTimes;
  /** The time from the call of the handler to the end of the stream, for streams that have ended. */
  readonly duration: StreamTimes;
}

/** Figures about the streams with the same route, format and protocol. */
export interface StreamGroup extends StreamFigures {
  /** The class and method of the handler: `Feed.prices`. */
  readonly route: string;
  /** The name of the format. `undefined` for streams whose format is chosen by the first chunk, as long as they have none. */
  readonly format: string | undefined;
  readonly protocol: StreamConnection['protocol'];
}

/** Figures about all streams since the start of the application: see {@link StreamRegistry.snapshot}. */
export interface StreamSnapshot {
  readonly totals: StreamFigures;
  readonly groups: readonly StreamGroup[];
}

/** The members of a stream from which figures are computed. */
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

/** Figures that can be added up. */
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

  /** Adds the figures of a stream. */
  count({ body, openedAt, beganAt }: MeteredStream): void {
    this.chunks += body.chunks;
    this.bytes += body.bytes;
    this.dropped += body.lost?.dropped ?? 0;
    this.lagged += body.lost?.lagged ?? 0;
    if (openedAt !== undefined) {
      this.timeToFirstByte.add(oneMeasurement(openedAt - beganAt));
    }
  }

  /** Counts a stream as opened. It is not counted before, as its format may not be known yet. */
  begin({ lastEventId = '' }: MeteredStream): void {
    this.opened++;
    this.resumed += lastEventId === '' ? 0 : 1;
  }

  end(code: StreamCloseCode, duration: number): void {
    this.ended[code] = (this.ended[code] ?? 0) + 1;
    this.duration.add(oneMeasurement(duration));
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

/** The figures of the streams with the same route, format and protocol. */
interface Group extends Pick<StreamGroup, 'route' | 'format' | 'protocol'> {
  readonly figures: Tally;
}

/** Collects figures of streams by route, format and protocol. */
export class StreamTally {
  private readonly groups = new Map<string, Group[]>();

  /** Counts a stream that has ended. */
  ended(stream: MeteredStream, code: StreamCloseCode, duration: number): void {
    const group = this.figuresOf(stream);
    group.begin(stream);
    group.count(stream);
    group.end(code, duration);
  }

  /** Returns all figures, including those of open streams. */
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

function oneMeasurement(ms: number): StreamTimes {
  return { count: 1, sum: ms, max: ms };
}
