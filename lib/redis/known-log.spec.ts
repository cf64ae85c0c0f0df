import { KnownLog } from './known-log.js';
import { LogKeys } from './log-keys.js';

const { jest } = import.meta;

const at = (offset: number, epoch = '1') => ({ epoch, offset });

describe('The time by which a process is behind its log', () => {
  let log: KnownLog;

  beforeEach(() => {
    jest.useFakeTimers();
    log = new KnownLog('prices', new LogKeys('ns', 'prices'), { limit: 10, ttl: 1_000 }, false);
    log.reached(at(0));
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('is 0 while its tails have received the newest record', () => {
    log.saw(at(1));
    log.reached(at(1));
    jest.advanceTimersByTime(100);

    expect(log.behindMs).toBe(0);
  });

  it('is the age of the first record that they have not received', () => {
    log.saw(at(1));
    jest.advanceTimersByTime(100);
    log.saw(at(2));
    jest.advanceTimersByTime(50);

    expect(log.behindMs).toBe(150);
  });

  it('does not grow while they follow a log that always has another record', () => {
    for (let offset = 1; offset <= 100; offset++) {
      log.saw(at(offset));
      jest.advanceTimersByTime(10);
      log.reached(at(offset - 1));
      expect(log.behindMs).toBeLessThanOrEqual(20);
    }
  });

  it('begins again with an epoch whose records they have not received', () => {
    log.saw(at(7));
    jest.advanceTimersByTime(100);
    log.reached(at(7));
    log.saw(at(1, '2'));
    jest.advanceTimersByTime(30);

    expect(log.behindMs).toBe(30);
    log.reached(at(1, '2'));
    expect(log.behindMs).toBe(0);
  });

  it('is 0 without tails', () => {
    log.saw(at(1));
    log.reached(undefined);

    expect(log.behindMs).toBe(0);
  });
});
