import { Batch } from './batch.js';
import type { LogEvent } from './log-event.js';
import { PageCache, type PageReader, type PageSource } from './pages.js';
import type { TopicHistory } from './topic-history.js';
import type { WantedTopic } from './topic-interest.js';

/** The maximum number of events in a page. */
const PAGE = 64;
/** A page ends when its data has this number of bytes, which a client that does not read can make the server keep. */
const PAGE_BYTES = 131_072;

/** The histories of topics in pages, merged by the position of their events in the log. */
export class TopicPages implements PageSource {
  private readonly cache: PageCache;

  constructor(private readonly history: TopicHistory) {
    this.cache = new PageCache(history.budget);
  }

  clear(): void {
    this.cache.clear();
  }

  read(after: number, upTo: number, reader: PageReader, each?: ReadonlyMap<string, number>): Batch | undefined {
    const topics = (reader.topics ?? []).map((name) => this.history.interest.get(name));
    const starts = topics.map((topic) => Math.max(after, each?.get(topic?.name ?? '') ?? 0));
    if (!topics.every((topic, index) => hasAllAfter(topic, starts[index] as number))) {
      return undefined;
    }
    const key = each ? undefined : `${reader.formatNumber} ${after} ${upTo}\n${reader.topics?.join('\n')}`;
    return (
      this.cache.get(key) ?? this.cache.share(key, this.merge(topics as WantedTopic[], starts, upTo, reader, after))
    );
  }

  private merge(
    topics: readonly WantedTopic[],
    starts: readonly number[],
    upTo: number,
    { format }: PageReader,
    after: number,
  ): Batch {
    const found = topics
      .flatMap(({ window }, index) => window?.after(starts[index] as number, PAGE) ?? [])
      .filter(({ seq }) => seq <= upTo)
      .sort((a, b) => a.seq - b.seq);
    const events: LogEvent[] = [];
    let bytes = 0;
    for (const event of found) {
      if (events.length >= PAGE || bytes >= PAGE_BYTES) {
        return new Batch(after + 1, events.at(-1)?.seq ?? after, events, format);
      }
      events.push(event);
      bytes += event.size;
    }
    return new Batch(after + 1, events.length >= PAGE ? (events.at(-1)?.seq ?? upTo) : upTo, events, format);
  }
}

function hasAllAfter(topic: WantedTopic | undefined, number: number): boolean {
  return topic?.window !== undefined && topic.window.completeAfter <= number;
}
