import type { RecordWindow } from '../broker/record-window.js';
import type { StreamFormat } from '../format/format.js';
import { Batch } from './batch.js';
import type { ByteBudget, Evictable } from './byte-budget.js';
import type { LogEvent } from './log-event.js';

/** The maximum number of events in a page. Two 32-bit integers store which of them are selected. */
const PAGE = 64;
/** The same, for a reader that takes events one by one, and calls again for each. */
const SMALL_PAGE = 8;
/** A page ends when its data has this number of bytes, which a client that does not read can make the server keep. */
const PAGE_BYTES = 131_072;
/** About how many bytes a page takes in addition to its chunks. */
const OVERHEAD = 1_024;
/**
 * How often pages are released that no reader has read since the last time, in milliseconds. When many clients resume, each mostly has read everything before
 * the next one connects, so that there is often no reader for a moment.
 */
const KEPT_MS = 10_000;

/** A reader of pages. All of its members receive the same events in the same format. */
export interface PageReader {
  /** `undefined`: all topics. */
  readonly topics: readonly string[] | undefined;
  /** `undefined`: its members receive the events one by one. */
  readonly format: StreamFormat | undefined;
  /** Identifies the format. */
  readonly formatNumber: number;
  receives(event: LogEvent): boolean;
  /** Returns the key of the page at a place, or `undefined` if the events there have to be read to know it. */
  keyAt(place: string): string | undefined;
  /** Remembers the key of the page at a place. */
  noteKey(place: string, key: string): void;
}

/** The events of a hub that subscribers read before they are live. */
export interface PageSource {
  /**
   * Returns the next events for a reader, after one sequence number and up to another at most. Returns `undefined` if some of them are not in memory.
   * @param each for topics that start later: the sequence number after which their events follow
   */
  read(after: number, upTo: number, reader: PageReader, each?: ReadonlyMap<string, number>): Batch | undefined;
}

class Page implements Evictable {
  /** Whether it was added or read since the timer last ran. */
  wasRead = true;

  constructor(
    private readonly key: string,
    readonly batch: Batch,
    private readonly kept: Map<string, Page>,
  ) {}

  get cost(): number {
    // Counted twice, because a compressed form may be added later.
    return OVERHEAD + 2 * this.batch.size;
  }

  evict(): void {
    this.kept.delete(this.key);
  }
}

/** The pages that readers share. Each is kept for 10 to 20 seconds after it was last read, within the budget of the hub. */
export class PageCache {
  private readonly kept = new Map<string, Page>();
  /** Set while pages are kept. Readers do not delay it, so that pages are released however often other pages are read. */
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly budget: ByteBudget) {}

  /** Releases all pages. */
  clear(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    for (const page of this.kept.values()) {
      this.budget.release(page);
    }
    this.kept.clear();
  }

  /** Releases the pages that were not read since it was called last. */
  private releaseUnread(): void {
    for (const [key, page] of this.kept) {
      if (page.wasRead) {
        page.wasRead = false;
      } else {
        this.budget.release(page);
        this.kept.delete(key);
      }
    }
    if (this.kept.size > 0) {
      this.timer?.refresh();
    } else {
      this.timer = undefined;
    }
  }

  get(key: string | undefined): Batch | undefined {
    const page = key === undefined ? undefined : this.kept.get(key);
    if (page) {
      page.wasRead = true;
    }
    return page?.batch;
  }

  /** Returns the page with a key, or adds it. Pages without a key, or without a format, are not kept. */
  share(key: string | undefined, batch: Batch): Batch {
    const known = this.get(key);
    if (known || key === undefined || !batch.format) {
      return known ?? batch;
    }
    const page = new Page(key, batch, this.kept);
    this.kept.set(key, page);
    this.budget.use(page);
    this.timer ??= setTimeout(() => this.releaseUnread(), KEPT_MS).unref();
    return batch;
  }
}

/**
 * The history of a hub in pages. Readers of the same page share its bytes if they select the same events in the same format, whatever their
 * topics.
 */
export class Pages implements PageSource {
  private readonly cache: PageCache;

  constructor(
    private readonly history: RecordWindow<LogEvent>,
    budget: ByteBudget,
  ) {
    this.cache = new PageCache(budget);
  }

  clear(): void {
    this.cache.clear();
  }

  read(after: number, upTo: number, reader: PageReader): Batch | undefined {
    if (after + 1 < this.history.oldest) {
      return undefined;
    }
    const { format } = reader;
    const size = format ? PAGE : SMALL_PAGE;
    // Aligned, so that all readers have the same page boundaries.
    const count = Math.min(size - (after % size), upTo - after);
    const place = `${reader.formatNumber} ${after} ${count}`;
    const known = this.cache.get(reader.keyAt(place));
    if (known) {
      return known;
    }
    const events = this.history.after(after, count);
    if (events[0]?.seq !== after + 1) {
      // The event has expired since `oldest` was read.
      return undefined;
    }
    const { batch, selected } = select(events, after, reader);
    if (!format) {
      return batch;
    }
    const key = place + selected;
    reader.noteKey(place, key);
    return this.cache.share(key, batch);
  }
}

/** Selects the events of a page for a reader. `selected` identifies the selection: an empty string for all events. */
function select(
  events: readonly LogEvent[],
  after: number,
  reader: PageReader,
): { readonly batch: Batch; readonly selected: string } {
  const matching: LogEvent[] = [];
  let low = 0;
  let high = 0;
  let bytes = 0;
  let read = 0;
  for (const event of events) {
    if (bytes >= PAGE_BYTES) {
      break;
    }
    if (reader.receives(event)) {
      matching.push(event);
      bytes += event.size;
      // A shift by 32 or more bits is a shift modulo 32.
      low |= read < 32 ? 1 << read : 0;
      high |= read < 32 ? 0 : 1 << read;
    }
    read++;
  }
  return {
    batch: new Batch(after + 1, after + read, matching, reader.format),
    selected: matching.length === read ? '' : ` ${low} ${high}`,
  };
}
