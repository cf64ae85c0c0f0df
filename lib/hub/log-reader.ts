import { setTimeout as pause } from 'node:timers/promises';
import type { Broker, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import { StreamError } from '../util/errors.js';

/**
 * How long a read that fails is repeated, and how long the pauses between are, in milliseconds. Tests make them shorter. After that time, a hub no longer
 * delays events that have arrived. While none arrive, it reads again.
 */
export const READ_RETRIES = { totalMs: 10_000, firstPauseMs: 50, longestPauseMs: 1_000 };

/**
 * Reads a log from its broker. A store may be away for some seconds, for example while a replica takes over, and its records still exist after
 * that. So a read that fails, or that is not answered, is repeated for about 10 seconds.
 */
export class LogReader {
  private readonly closing = new AbortController();
  /** Whether the last read has failed, so that this was logged. */
  private failing = false;

  constructor(
    readonly log: string,
    private readonly broker: Broker,
    private readonly warn: (message: string, error?: unknown) => void,
    private readonly askEnd: () => Promise<BrokerPosition> = () => endOf(broker, log),
  ) {}

  /** Whether {@link close} was called. */
  get closed(): boolean {
    return this.closing.signal.aborted;
  }

  /** Ends all repetitions. From now on, a read is tried once. */
  close(): void {
    this.closing.abort();
  }

  /**
   * Returns the records after an offset, like `read()` of a broker.
   * @throws the error of the broker, if it still fails after the last repetition
   */
  read(after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.retrying(() => this.broker.read(this.log, after, count));
  }

  /**
   * Returns the position at which the log ends: where a new tail would begin. For most stores, this takes one round trip. It transfers no
   * records, and works for a log that has none.
   * @throws the same as {@link read}
   */
  end(): Promise<BrokerPosition> {
    return this.retrying(this.askEnd);
  }

  /**
   * Repeats a question to the broker until it is answered.
   * @throws the error of the broker, if it still fails after the last repetition
   */
  async retrying<R>(ask: () => Promise<R>): Promise<R> {
    try {
      const answer = await this.attempt(ask);
      this.failing = false;
      return answer;
    } catch (error) {
      if (!this.failing && !this.closed) {
        this.failing = true;
        this.warn(
          `The hub "${this.log}" cannot read its log: clients that need older events wait for its broker`,
          error,
        );
      }
      throw error;
    }
  }

  private async attempt<R>(ask: () => Promise<R>): Promise<R> {
    const { totalMs, firstPauseMs, longestPauseMs } = READ_RETRIES;
    const end = performance.now() + totalMs;
    for (let wait = firstPauseMs; ; wait = Math.min(2 * wait, longestPauseMs)) {
      try {
        return await this.within(end - performance.now(), ask);
      } catch (error) {
        // At random, so that many processes do not ask a store all at once that is just back.
        const time = wait * (0.5 + Math.random() / 2);
        if (this.closed || performance.now() + time >= end) {
          throw error;
        }
        await pause(time, undefined, { signal: this.closing.signal, ref: false }).catch(() => undefined);
        if (this.closed) {
          throw error;
        }
      }
    }
  }

  private async within<R>(ms: number, ask: () => Promise<R>): Promise<R> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const message = `The broker has not answered within ${READ_RETRIES.totalMs} ms: check the connection to its store`;
      timer = setTimeout(() => reject(new StreamError('broker-unavailable', message)), ms).unref();
    });
    try {
      return await Promise.race([ask(), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

async function endOf(broker: Broker, log: string): Promise<BrokerPosition> {
  const tail = await broker.tail(log, () => undefined);
  await tail.stop();
  return { epoch: tail.epoch, offset: tail.offset };
}
