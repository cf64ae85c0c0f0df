import type {
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from '../../broker/broker.js';
import type { BrokerCondition } from '../../broker/broker-runs.js';
import { StreamError } from '../../util/errors.js';
import type { RunsBroker } from './run-logs.js';

interface LinkTail {
  readonly log: string;
  readonly listener: BrokerListener;
}

/**
 * The connection of one process to a broker, which a case can cut and heal. So that processes can be cut off one by one, and with every broker: also with one
 * whose processes share one object.
 */
export class BrokerLink implements RunsBroker {
  private readonly tails = new Set<LinkTail>();
  private isCut = false;
  private losesAnswer = false;

  /** @param delay is awaited before each call, and before its answer */
  constructor(
    readonly broker: RunsBroker,
    private readonly delay?: () => Promise<void>,
  ) {}

  /** No call reaches the broker from now on, and no answer or record the process. */
  cut(): void {
    this.isCut = true;
  }

  /** The next write reaches the broker, and its answer is lost. */
  loseAnswer(): void {
    this.losesAnswer = true;
  }

  /** Connects again. The tails receive the position where their logs end. */
  async heal(): Promise<void> {
    this.isCut = false;
    for (const { log, listener } of [...this.tails]) {
      const { epoch, offset, stop } = await this.broker.tail(log, () => undefined);
      await stop();
      if (offset > 0 && !this.isCut) {
        listener([], { epoch, offset });
      }
    }
  }

  open(log: string, retention: BrokerRetention): Promise<void> {
    return this.call(() => this.broker.open(log, retention));
  }

  append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.call(() => this.broker.append(log, entry), 'publish-unknown');
  }

  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.call(() => this.broker.read(log, after, count));
  }

  create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    condition?: BrokerCondition,
  ): Promise<BrokerPosition | false> {
    return this.call(() => this.broker.create(log, entries, ms, condition), 'publish-unknown');
  }

  appendAll(
    log: string,
    entries: readonly BrokerEntry[],
    condition?: BrokerCondition,
  ): Promise<BrokerPosition | false> {
    return this.call(() => this.broker.appendAll(log, entries, condition), 'publish-unknown');
  }

  expire(log: string, ms: number): Promise<boolean> {
    return this.call(() => this.broker.expire(log, ms));
  }

  drop(log: string): Promise<void> {
    return this.call(() => this.broker.drop(log));
  }

  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const tail: LinkTail = { log, listener };
    const inner = await this.call(() =>
      this.broker.tail(log, (records, position) => {
        if (!this.isCut) {
          listener(records, position);
        }
      }),
    );
    this.tails.add(tail);
    const stop = (): void | Promise<void> => {
      this.tails.delete(tail);
      return inner.stop();
    };
    return { epoch: inner.epoch, offset: inner.offset, stop };
  }

  /** The broker itself is closed at the end of the case: other processes may use it. */
  async close(): Promise<void> {
    this.tails.clear();
  }

  /** @param lost the code of the error if the call was made, and its answer is lost */
  private async call<R>(
    run: () => Promise<R>,
    lost: 'publish-unknown' | 'broker-unavailable' = 'broker-unavailable',
  ): Promise<R> {
    await this.delay?.();
    this.demand('broker-unavailable');
    const result = await run();
    await this.delay?.();
    this.demand(lost);
    if (this.losesAnswer && lost === 'publish-unknown') {
      this.losesAnswer = false;
      throw new StreamError(lost, 'The case has lost the answer to this process', { statusCode: 503 });
    }
    return result;
  }

  private demand(code: 'publish-unknown' | 'broker-unavailable'): void {
    if (this.isCut) {
      throw new StreamError(code, 'The case has cut the connection of this process', { statusCode: 503 });
    }
  }
}
