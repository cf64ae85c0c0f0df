import { RecordWindow } from '../broker/record-window.js';
import { ndjsonFormat } from '../format/ndjson.format.js';
import { sseFormat } from '../format/sse.format.js';
import type { Batch } from './batch.js';
import { ByteBudget } from './byte-budget.js';
import { FanOut } from './fan-out.js';
import { LogEvent } from './log-event.js';
import { Pages } from './pages.js';

const MANY = Number.POSITIVE_INFINITY;

function setup() {
  const window = new RecordWindow<LogEvent>({ limit: MANY, ttl: MANY });
  const fanOut = new FanOut(new Pages(window, new ByteBudget(MANY)));
  return {
    fanOut,
    publish(data: string, topic?: string) {
      const seq = window.last + 1;
      const record = { data, topic, encoding: 'text' as const, epoch: 'e', offset: seq, time: 0 };
      const event = new LogEvent(seq, `id${seq}`, record);
      window.push(event, 0);
      return event;
    },
    /** A member of the audience of some topics. */
    member(topics: readonly string[] | undefined, format = sseFormat) {
      const batches: Batch[] = [];
      fanOut.enter(topics, format).join({
        seat: -1,
        deliver: (batch) => void batches.push(batch),
        restart: () => undefined,
        directPort: () => undefined,
        onRowLeft: () => undefined,
        onFull: () => undefined,
      });
      return batches;
    },
  };
}

describe('Audiences of different topics', () => {
  it('share the bytes of a round for each format if they receive the same events in it', async () => {
    const { fanOut, member, publish } = setup();
    const [all, one, other, ndjson] = [
      member(undefined),
      member(['news', 'user:1']),
      member(['news', 'user:2']),
      member(['news'], ndjsonFormat),
    ];
    fanOut.send(publish('a', 'news'));
    fanOut.send(publish('b', 'news'));

    await fanOut.finished();

    expect(one[0]?.events.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(other[0]).toBe(one[0]);
    expect(all[0]).toBe(one[0]);
    expect(ndjson[0]?.chunks[0]?.shared.bytes.toString()).toBe('"a"\n"b"\n');
  });

  it('receive only the events of their own topics if the topics differ', async () => {
    const { fanOut, member, publish } = setup();
    const members = [undefined, ['news', 'user:1'], ['news', 'user:2'], ['user:2']].map((topics) => member(topics));
    for (const topic of ['news', 'user:1', 'news', 'user:2', undefined]) {
      fanOut.send(publish('x', topic));
    }

    await fanOut.finished();

    expect(members.map((batches) => batches.flatMap(({ events }) => events.map(({ seq }) => seq)))).toEqual([
      [1, 2, 3, 4, 5],
      [1, 2, 3],
      [1, 3, 4],
      [4],
    ]);
  });

  it('share the pages of the history from which they receive the same events, and no other pages', () => {
    const { fanOut, publish } = setup();
    for (let i = 1; i <= 200; i++) {
      publish(String(i), i === 100 ? 'user:1' : 'news');
    }
    const [all, one, other] = [undefined, ['news', 'user:1'], ['news', 'user:2']].map((topics) =>
      fanOut.enter(topics, sseFormat),
    );

    expect(one?.page(0, 200)).toBe(all?.page(0, 200));
    expect(other?.page(0, 200)).toBe(all?.page(0, 200));
    expect(one?.page(64, 200)).toBe(all?.page(64, 200));
    expect(other?.page(64, 200)).not.toBe(all?.page(64, 200));
    expect(other?.page(64, 200)?.events.map(({ seq }) => seq)).not.toContain(100);
  });

  it('share the bytes of a large event even if they receive different events in the same round', async () => {
    const { fanOut, member, publish } = setup();
    const [one, other] = [member(['news', 'user:1']), member(['news', 'user:2'])];
    fanOut.send(publish('small', 'user:1'));
    fanOut.send(publish('x'.repeat(100_000), 'news'));
    fanOut.send(publish('small', 'user:2'));

    await fanOut.finished();

    expect(one[0]?.chunks.map(({ count }) => count)).toEqual([1, 2]);
    expect(other[0]?.chunks.map(({ count }) => count)).toEqual([1, 2]);
    expect(other[0]?.chunks[0]?.shared).toBe(one[0]?.chunks[1]?.shared);
  });
});
