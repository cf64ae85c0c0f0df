import type { BrokerPosition } from '../broker/broker.js';
import type { History, Start } from './history.js';
import { Locator } from './locator.js';
import { positionOf, tagOf } from './position.js';

/**
 * What a client asks for when it subscribes. It is a {@link Start}, or a position that this process has not reached yet: it then starts after that
 * position, or with the newest `last` events up to it if the client sent no id.
 */
export type Request = Start | { readonly position: BrokerPosition; readonly last?: number };

/** Finds out where the subscribers of a hub start. */
export class StartFinder {
  private readonly tag: string;
  private readonly locator: Locator;

  constructor(private readonly history: History) {
    this.tag = tagOf(history.name);
    this.locator = new Locator(history.name, history, history.reader, history.warn);
  }

  /** Called when this process has received an event. */
  onDelivered(): void {
    this.locator.onDelivered();
  }

  /** Ends the waiting of all subscribers that have not started. */
  close(): void {
    this.locator.close();
  }

  /** Returns the request of a client that has received every event up to an id. */
  after(id: string): Request {
    const { history } = this;
    const position = positionOf(id, this.tag);
    if (typeof position === 'string') {
      return { reason: position };
    }
    if (history.hasReached(position)) {
      return { after: history.numberAt(position.offset) };
    }
    return this.locator.isOver(position.epoch) ? { reason: 'epoch' } : { position };
  }

  /**
   * Returns the request of a client that is to receive the newest `count` events of its topics, and then new ones.
   * @param published the newest event that this process has published: the client starts after it, also if the tail has not delivered it yet
   */
  newest(count: number, topics: readonly string[] | undefined, published: BrokerPosition | undefined): Request {
    const { history } = this;
    return !published || history.isDelivered(published)
      ? history.startWithLast(count, topics, history.last)
      : { position: published, last: count };
  }

  /**
   * Returns where a client starts that has made a request.
   * @throws {StreamError} `hub-closed` if the hub closes before this is known
   */
  find(request: Request, topics: readonly string[] | undefined): Start | Promise<Start> {
    if ('position' in request) {
      return this.locate(request.position, request.last, topics);
    }
    return 'reason' in request && this.history.recovering ? this.afterRecovery(request) : request;
  }

  private async locate(
    position: BrokerPosition,
    last: number | undefined,
    topics: readonly string[] | undefined,
  ): Promise<Start> {
    const { history } = this;
    const found = await this.locator.reaches(position);
    const number = found ? history.numberAt(position.offset) : history.last;
    if (last !== undefined) {
      return history.startWithLast(last, topics, number);
    }
    return found ? { after: number } : this.afterRecovery({ reason: 'epoch' });
  }

  /** A client that receives a `reset` would otherwise receive another one when the recovery begins a new epoch. */
  private async afterRecovery(start: Start): Promise<Start> {
    while (this.history.recovering) {
      await this.history.recovering;
    }
    return start;
  }
}
