import { jest } from '@jest/globals';
import { RecordWindow } from '../broker/record-window.js';
import { ndjsonFormat } from '../format/ndjson.format.js';
import { sseFormat } from '../format/sse.format.js';
import { Audience, type AudienceMember } from './audience.js';
import { ByteBudget } from './byte-budget.js';
import { LogEvent } from './log-event.js';
import { Pages } from './pages.js';

const MANY = Number.POSITIVE_INFINITY;
const EVENTS = 100;
/** How often pages are released that were not read since the last time. */
const KEPT_MS = 10_000;

/** A history of 100 events, half of them of the topic `even`. `limit`: how many bytes are kept for it. */
function setup(limit = MANY) {
  const window = new RecordWindow<LogEvent>({ limit: EVENTS, ttl: MANY });
  const budget = new ByteBudget(limit);
  const pages = new Pages(window, budget);
  const publish = () => {
    const offset = window.last + 1;
    const topic = offset % 2 === 0 ? 'even' : 'odd';
    const record = { data: 'x'.repeat(100), topic, encoding: 'text' as const, epoch: 'e', offset, time: 0 };
    window.push(new LogEvent(offset, `id${offset}`, record), 0);
  };
  for (let i = 0; i < EVENTS; i++) {
    publish();
  }
  /** Reads the whole history as one client does that leaves then, and returns its pages. */
  const resume = (topics?: readonly string[], format = sseFormat) => {
    const audience = new Audience('', topics, format, format === sseFormat ? 1 : 2, pages);
    const member: AudienceMember = {
      seat: -1,
      deliver: () => undefined,
      restart: () => undefined,
      directPort: () => undefined,
      onRowLeft: () => undefined,
      onFull: () => undefined,
    };
    audience.enter();
    const read = [];
    for (let after = window.oldest - 1; after < window.last; ) {
      const page = audience.page(after, window.last);
      if (!page) {
        throw new Error('The events are not in memory');
      }
      read.push(page);
      after = page.last;
    }
    audience.join(member);
    return read;
  };
  return { pages, publish, resume };
}

describe('The pages of a history', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('are the same for clients that come one after the other, with nobody reading in between', () => {
    const { resume } = setup();
    const [first, second] = resume();

    jest.advanceTimersByTime(KEPT_MS - 1);

    expect(first?.chunks[0]?.shared.count).toBe(64);
    expect(resume()[0]).toBe(first);
    expect(resume()[1]).toBe(second);
  });

  it('are the same for clients of the same events in the same format only', () => {
    const { resume } = setup();
    const [all] = resume();
    const [even] = resume(['even']);

    expect(resume(['even', 'other'])[0]).toBe(even);
    expect(even).not.toBe(all);
    expect(even?.events).toHaveLength(32);
    expect(resume(['even'], ndjsonFormat)[0]).not.toBe(even);
  });

  it('are released at most twenty seconds after they were last read, and leave no timer behind', () => {
    const { resume } = setup();
    const [first] = resume();
    jest.advanceTimersByTime(KEPT_MS - 1);
    expect(resume()[0]).toBe(first);

    jest.advanceTimersByTime(2 * KEPT_MS);

    expect(jest.getTimerCount()).toBe(0);
    expect(resume()[0]).not.toBe(first);
  });

  it('are released while clients read other pages, or no page, every five seconds', () => {
    const { resume } = setup();
    const [all] = resume();
    const [even] = resume(['even']);

    for (let i = 0; i < 4; i++) {
      jest.advanceTimersByTime(KEPT_MS / 2);
      resume(['even']);
      resume(['none']);
    }

    expect(resume(['even'])[0]).toBe(even);
    expect(resume()[0]).not.toBe(all);
  });

  it('are released when the hub is closed, and leave no timer behind', () => {
    const { pages, resume } = setup();
    const [first] = resume();

    pages.clear();

    expect(jest.getTimerCount()).toBe(0);
    expect(resume()[0]).not.toBe(first);
  });

  it('are kept only as far as the budget of the hub allows', () => {
    const { resume } = setup(10_000);
    const [first, second] = resume();

    const [again, , ...others] = resume();

    expect(others).toEqual([]);
    expect(again).not.toBe(first);
    expect(again?.chunks[0]?.shared.bytes.equals(first?.chunks[0]?.shared.bytes ?? Buffer.of())).toBe(true);
    expect(second?.events).toHaveLength(36);
  });

  it('are not used for events that were evicted in the meantime', () => {
    const { pages, publish, resume } = setup();
    resume();
    publish();

    const audience = new Audience('', undefined, sseFormat, 1, pages);

    expect(audience.page(0, EVENTS)).toBeUndefined();
  });
});
