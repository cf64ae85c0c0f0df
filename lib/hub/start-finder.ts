import type { BrokerPosition } from '../broker/broker.js';
import type { HubResetReason } from '../event/hub-event.js';
import type { History } from './history.js';
import { Locator } from './locator.js';
import { positionOf, tagOf } from './position.js';
import type { Start, StartingClient, StartingSubscriber } from './start.js';

/**
 * What a client asks for when it subscribes: a {@link Start}; the history, after a `reset`; or the newest `last` events of its topics up to a sequence number, or up to a position
 * that this process has not reached yet. With a position and no `last`, it starts after that position, from whose id it resumes.
 */
export type Request =
  | Start
  | { readonly reason: HubResetReason }
  | { readonly last: number; readonly upTo: number }
  | { readonly position: BrokerPosition; readonly last?: number };

/** Finds out where the subscribers of a hub start. */
export class StartFinder {
  private readonly tag: string;
  private readonly locator: Locator;

  constructor(private readonly history: History) {
    this.tag = tagOf(history.name);
    this.locator = new Locator(history.name, history, history.reader);
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
   * Returns the request of a client that is to receive the newest `last` events of its topics, and then new ones.
   * @param published the newest event that this process has published: the client starts after it, also if the tail has not delivered it yet
   */
  newest(last: number, published: BrokerPosition | undefined): Request {
    const { history } = this;
    if (published && !history.isDelivered(published)) {
      return { position: published, last };
    }
    const upTo = history.last;
    return last === 0 ? { after: upTo, liveFrom: upTo } : { last, upTo };
  }

  /**
   * Returns where a client starts that has made a request. If it needs events that were in the log before this process opened it, they are read.
   * @throws {StreamError} `hub-closed` if the hub closes before this is known
   */
  find(request: Request, client: StartingSubscriber): Start | Promise<Start> {
    if ('position' in request) {
      return this.locate(request.position, request.last, client);
    }
    if ('last' in request) {
      return this.findNewest(request.last, request.upTo, client);
    }
    return 'reason' in request ? this.beforeReset(request.reason, client) : this.findAfter(request, client);
  }

  private findAfter(start: Start, client: StartingSubscriber): Start | Promise<Start> {
    const { history } = this;
    const isEnough = (): boolean => history.oldest - 1 <= start.after;
    if (isEnough() || history.backfill.complete) {
      return start;
    }
    const { epoch } = history;
    return history.backfill
      .load(isEnough, client)
      .then(() => (history.epoch === epoch ? start : this.beforeReset('epoch', client)));
  }

  private findNewest(last: number, upTo: number, client: StartingSubscriber): Start | Promise<Start> {
    const { backfill } = this.history;
    const search = this.history.search(last, client.options.topics, upTo);
    const found = (): Start => ({ after: search.continue().first - 1, liveFrom: upTo });
    return search.continue().found || backfill.complete
      ? found()
      : backfill.load(() => search.continue().found, client).then(found);
  }

  /**
   * A client with a `reset` receives the whole history, so that it has to be read. And if the hub is just reading the records of a new epoch, the
   * client waits for them, since it would otherwise receive another reset.
   */
  private beforeReset(reason: HubResetReason, client: StartingClient): Start | Promise<Start> {
    const { backfill, recovering } = this.history;
    const start: Start = { after: 0, loss: { reason } };
    return backfill.complete && !recovering ? start : this.readBeforeReset(start, client);
  }

  private async readBeforeReset(start: Start, client: StartingClient): Promise<Start> {
    await this.history.backfill.load(() => false, client);
    while (this.history.recovering && !client.closed) {
      await this.history.recovered();
    }
    return start;
  }

  private async locate(position: BrokerPosition, last: number | undefined, client: StartingSubscriber): Promise<Start> {
    const { history } = this;
    const found = await this.locator.reaches(position, client);
    if (last !== undefined && !found && history.epoch !== position.epoch) {
      // The log has begun a new epoch since the client subscribed. What was published in it until now would be lost without the `reset`.
      return { after: history.floor - 1, liveFrom: history.floor - 1 };
    }
    const number = found ? history.numberAt(position.offset) : history.last;
    if (last !== undefined) {
      return this.findNewest(last, number, client);
    }
    return found ? this.findAfter({ after: number }, client) : this.beforeReset('epoch', client);
  }
}
