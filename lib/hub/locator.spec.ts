import type { BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { Locator, TAIL_TIMEOUTS } from './locator.js';
import { LogReader, READ_RETRIES } from './log-reader.js';

const defaults = [{ ...READ_RETRIES }, { ...TAIL_TIMEOUTS }] as const;

beforeEach(() => {
  // Each question fails at once, and none is repeated.
  READ_RETRIES.totalMs = 0;
  TAIL_TIMEOUTS.askMs = 0;
});

afterEach(() => {
  Object.assign(READ_RETRIES, defaults[0]);
  Object.assign(TAIL_TIMEOUTS, defaults[1]);
});

/** A broker that fails, after a test has changed something. */
class FailingBroker extends MemoryBroker {
  asked = 0;

  constructor(private readonly onAsked: (question: number) => void) {
    super();
  }

  override async tail(): Promise<BrokerTail> {
    this.onAsked(++this.asked);
    throw new Error('The store is away');
  }

  override read(): Promise<readonly BrokerRecord[]> {
    throw new Error('Nothing is read here');
  }
}

/** A locator in a process that has received one event. */
function locatorOf(onAsked: (question: number) => void) {
  const broker = new FailingBroker(onAsked);
  const history = {
    epoch: 'a',
    last: 1,
    hasReached: ({ epoch, offset }: BrokerPosition) => epoch === 'a' && offset <= history.last,
    hasLeft: () => false,
    advance: async () => undefined,
  };
  const warnings: string[] = [];
  const reader = new LogReader('feed', broker, (message) => warnings.push(message));
  return { broker, history, reader, warnings, locator: new Locator('feed', history, reader) };
}

const AHEAD = { epoch: 'a', offset: 9 };
const STRANGE = { epoch: 'b', offset: 1 };

describe('A client that is ahead of its process, whose broker cannot be asked,', () => {
  it('waits while no events arrive, and the failure is logged once', async () => {
    const { broker, history, warnings, locator } = locatorOf((question) => {
      if (question === 5) {
        history.last = 9;
        locator.onDelivered();
      }
    });

    expect(await locator.reaches(AHEAD, { closed: false })).toBe(true);
    expect([broker.asked, warnings.length]).toEqual([5, 1]);
  });

  it('waits no longer once it has left, and the broker is asked no more', async () => {
    const client = { closed: false };
    const { broker, locator } = locatorOf((question) => {
      client.closed = question === 5;
    });

    expect(await locator.reaches(AHEAD, client)).toBe(false);
    expect(broker.asked).toBe(5);
  });

  it('is refused when its hub stops repeating questions, since it can resume in another process', async () => {
    const { broker, locator, reader } = locatorOf((question) => {
      if (question === 5) {
        reader.close();
      }
    });

    await expect(locator.reaches(STRANGE, { closed: false })).rejects.toMatchObject({ code: 'hub-closed' });
    expect(broker.asked).toBe(5);
  });

  it('waits no longer once a question fails that was asked after another event, since the client would miss that event', async () => {
    const { broker, history, locator } = locatorOf((question) => {
      if (question === 5) {
        history.last++;
      }
    });

    expect(await locator.reaches(STRANGE, { closed: false })).toBe(false);
    expect(broker.asked).toBe(6);
  });

  it('is not told the result of a question that was asked before it came', async () => {
    const { broker, history, locator } = locatorOf((question) => {
      if (question === 2) {
        history.last++;
      } else if (question === 3) {
        second = locator.reaches(STRANGE, { closed: false });
      } else if (question === 5) {
        history.last++;
      }
    });
    let second: Promise<boolean> | undefined;
    const first = locator.reaches(STRANGE, { closed: false });

    expect([await first, await second, broker.asked]).toEqual([false, false, 6]);
  });
});
