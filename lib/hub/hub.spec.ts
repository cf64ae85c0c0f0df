import { MemoryBroker } from '../broker/memory.broker.js';
import { Hub } from './hub.js';

const { jest } = import.meta;

class StuckBroker extends MemoryBroker {
  override open(): Promise<void> {
    return new Promise(() => undefined);
  }
}

describe('A hub that is opening', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('logs a warning after 5 seconds that the application waits for the hub, and the hub for its broker', () => {
    const warnings: string[] = [];

    void Hub.open({ name: 'prices' }, new StuckBroker(), (message) => warnings.push(message));
    jest.advanceTimersByTime(4_999);
    expect(warnings).toEqual([]);
    jest.advanceTimersByTime(1);

    expect(warnings).toEqual([
      'The hub "prices" still waits for StuckBroker, and the start of the application with it',
    ]);
  });

  it('logs nothing after its broker has opened', async () => {
    const warnings: string[] = [];

    const hub = await Hub.open({ name: 'prices' }, new MemoryBroker(), (message) => warnings.push(message));
    jest.advanceTimersByTime(10_000);

    expect(warnings).toEqual([]);
    await hub.close();
  });
});
