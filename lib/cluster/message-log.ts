import type { Broker, BrokerRecord, BrokerRetention } from '../broker/broker.js';
import { Hub } from '../hub/hub.js';

/** No message is dropped, as messages are read as soon as they arrive. */
const QUEUE = { items: Infinity, bytes: Infinity };

type Warn = (message: string, error?: unknown) => void;

/** Receives the messages of a log. */
export interface MessageListener<M> {
  /** May throw if the message is invalid. */
  onMessage(message: M): void;
  /** Called when messages were lost. */
  onReset(): void;
}

/** A log of the package itself, with which the processes that share a broker send messages to each other. */
export class MessageLog<M> {
  private constructor(
    private readonly hub: Hub,
    private readonly warn: Warn,
  ) {}

  static async open<M>(name: string, history: BrokerRetention, broker: Broker, warn: Warn): Promise<MessageLog<M>> {
    return new MessageLog<M>(await Hub.open({ name, history, queue: QUEUE }, withText(broker), warn), warn);
  }

  /**
   * Receives the newest `last` messages, and then those that are sent. A record that is no message is skipped: another version of the package, or a
   * program in another language, may have appended it.
   */
  receive(last: number, listener: MessageListener<M>): void {
    const { hub, warn } = this;
    this.read(last, listener).catch((error: unknown) => warn(`Nothing is received from "${hub.name}" any more`, error));
  }

  async send(message: M): Promise<void> {
    await this.hub.publish(message);
  }

  close(): Promise<void> {
    return this.hub.close();
  }

  private async read(last: number, listener: MessageListener<M>): Promise<void> {
    for await (const { id, type, data } of this.hub.subscribe({ last })) {
      try {
        if (type === 'reset') {
          listener.onReset();
        } else {
          listener.onMessage(JSON.parse(data as string));
        }
      } catch (error) {
        this.warn(`The record ${id} of "${this.hub.name}" is invalid, and was skipped`, error);
      }
    }
  }
}

/** Returns a broker whose records are texts, also those that are to be JSON: a subscription ends at a record that cannot be decoded. */
function withText(broker: Broker): Broker {
  const textOf = (record: BrokerRecord): BrokerRecord => ({ ...record, encoding: 'text' });
  const texts: Broker = {
    open: (log, retention) => broker.open(log, retention),
    append: (log, entry) => broker.append(log, entry),
    tail: (log, listener) => broker.tail(log, (records, position) => listener(records.map(textOf), position)),
    read: async (log, after, count) => (await broker.read(log, after, count)).map(textOf),
    close: () => broker.close(),
  };
  // Its name is in warnings.
  return Object.assign(texts, { constructor: broker.constructor });
}
