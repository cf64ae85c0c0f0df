import { MemoryBroker } from '../broker/memory.broker.js';
import { Hub } from './hub.js';

const { jest } = import.meta;

class StuckBroker extends MemoryBroker {
  override open(): Promise<void> {
    return new Promise(() => undefined);
  }
}

describe('A hub that opens', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('warns after 5 seconds that it waits for its broker and that the application waits for it', () => {
    const warnings: string[] = [];

    void Hub.open({ name: 'prices' }, new StuckBroker(), (message) => warnings.push(message));
    jest.advanceTimersByTime(4_999);
    expect(warnings).toEqual([]);
    jest.advanceTimersByTime(1);

    expect(warnings).toEqual([
      'The hub "prices" still waits for StuckBroker, and the start of the application with it',
    ]);
  });

  it('logs nothing once its broker is open', async () => {
    const warnings: string[] = [];

    const hub = await Hub.open({ name: 'prices' }, new MemoryBroker(), (message) => warnings.push(message));
    jest.advanceTimersByTime(10_000);

    expect(warnings).toEqual([]);
    await hub.close();
  });
});
