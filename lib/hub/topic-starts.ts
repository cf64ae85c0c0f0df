import type { BrokerPosition } from '../broker/broker.js';
import type { TopicWindow } from '../broker/topic-window.js';
import { Locator } from './locator.js';
import type { LogEvent } from './log-event.js';
import { positionOf, tagOf } from './position.js';
import type { FindStart, Loss, Start, StartingSubscriber, StartRequest } from './start.js';
import type { TopicHistory } from './topic-history.js';
import type { TopicLoader } from './topic-loader.js';

/** Finds out where subscribers of topics start. */
export class TopicStarts {
  private readonly tag: string;
  private readonly locator: Locator;
  /** The starts that are being found. */
  private readonly running = new Set<Promise<Start>>();

  constructor(
    private readonly history: TopicHistory,
    private readonly loader: TopicLoader,
  ) {
    this.tag = tagOf(history.name);
    // The tail is not waited for: it only delivers what is wanted, so that it rarely reaches a position by itself.
    this.locator = new Locator(history.name, history, history.reader, 0);
  }

  /** Called when this process has received an event. */
  onDelivered(): void {
    this.locator.onDelivered();
  }

  close(): void {
    this.locator.close();
  }

  /** Resolves when all clients have started that wait now. */
  settled(): Promise<unknown> {
    return Promise.allSettled(this.running);
  }

  requestOf({ after, last, topics = [] }: StartRequest): FindStart {
    if (after === undefined || after === '') {
      const { end, interest } = this.history;
      // Asked now, since this process may not know yet what others have appended to other topics, and events that are published after this call do not count.
      const isKnown = topics.every((name) => interest.get(name)?.window);
      const asked = last > 0 && !isKnown ? this.endOfLog(end) : end;
      return (client) => this.inEpoch(client, async () => this.newest(last, await asked, client));
    }
    const position = positionOf(after, this.tag);
    if (typeof position === 'string') {
      return (client) => this.inEpoch(client, () => this.afterLoss({ reason: position }, client));
    }
    return (client) => {
      // The position may be in the new epoch.
      const find = (): Promise<Start> => this.afterPosition(position, client);
      return this.atPosition(position, client) ?? this.inEpoch(client, find, find);
    };
  }

  /** Returns the sequence number at which the log ends now, or another one if its broker does not say. */
  private async endOfLog(otherwise: number): Promise<number> {
    const { history } = this;
    const position = await history.reader.end().catch(() => undefined);
    return position?.epoch === history.epoch ? Math.max(otherwise, history.numberAt(position.offset)) : otherwise;
  }

  /** Returns where a subscriber continues after a sequence number. */
  continueAfter(number: number, each: ReadonlyMap<string, number> | undefined, loss?: Loss): FindStart {
    return (client) =>
      (loss ? undefined : this.inMemory(number, each, client)) ??
      this.inEpoch(client, () =>
        number < this.history.floor
          ? this.afterLoss({ reason: 'epoch' }, client)
          : this.afterNumber(number, each, client, loss),
      );
  }

  /** Returns the start of a client for which nothing has to be read. After a lost connection, there may be thousands. */
  private inMemory(
    after: number,
    each: ReadonlyMap<string, number> | undefined,
    client: StartingSubscriber,
  ): Start | undefined {
    const { floor, interest } = this.history;
    const isComplete = (name: string): boolean => {
      const topic = interest.get(name);
      const from = topic?.adding ? undefined : topic?.window?.completeAfter;
      return from !== undefined && from <= Math.max(after, each?.get(name) ?? 0);
    };
    return after >= floor && topicsOf(client).every(isComplete) ? { after, each } : undefined;
  }

  /** Waits until the topics of a client are received. If the log begins a new epoch while a start is found, finds another one. */
  private inEpoch(
    client: StartingSubscriber,
    find: () => Promise<Start>,
    again = () => this.afterLoss({ reason: 'epoch' }, client),
  ): Promise<Start> {
    const start = this.findInEpoch(client, find, again);
    this.running.add(start);
    const remove = (): void => void this.running.delete(start);
    start.then(remove, remove);
    return start;
  }

  private async findInEpoch(
    client: StartingSubscriber,
    find: () => Promise<Start>,
    again: () => Promise<Start>,
  ): Promise<Start> {
    const { history } = this;
    const topics = topicsOf(client);
    await history.interest.ready(topics);
    if (!client.closed && topics.some((name) => !history.interest.get(name)?.window)) {
      throw history.closedError();
    }
    let { epoch } = history;
    let start = await find();
    while (history.epoch !== epoch && !client.closed) {
      epoch = history.epoch;
      start = await again();
    }
    return start;
  }

  /** @param upTo the sequence number at which the log ended when the client subscribed */
  private async newest(last: number, upTo: number, client: StartingSubscriber): Promise<Start> {
    const { history, loader } = this;
    if (last === 0 || upTo < history.floor) {
      const start = await this.afterNumber(Math.max(upTo, history.floor), undefined, client);
      return { ...start, liveFrom: start.after };
    }
    const topics = topicsOf(client);
    await loader.load(topics, history.floor, client);
    const each = new Map<string, number>();
    const lost: string[] = [];
    for (const name of topics) {
      const window = history.interest.get(name)?.window;
      if (window) {
        const index = indexOfNewest(window, last, window.indexAfter(upTo));
        each.set(name, index === 0 ? window.completeAfter : (window.numberAt(index - 1) ?? upTo));
      }
      if (window && window.completeAfter > upTo) {
        // While the history was read, events were evicted that followed the call of subscribe().
        lost.push(name);
      }
    }
    const loss = lost.length > 0 ? ({ reason: 'evicted', topics: lost } as const) : undefined;
    return { after: Math.min(upTo, ...each.values()), each, liveFrom: upTo, loss };
  }

  /** Returns the start of a client that has received the events up to a position, if nothing has to be read or asked. */
  private atPosition(position: BrokerPosition, client: StartingSubscriber): Start | undefined {
    const { history } = this;
    return history.hasReached(position)
      ? this.inMemory(history.numberAt(position.offset), undefined, client)
      : undefined;
  }

  private async afterPosition(position: BrokerPosition, client: StartingSubscriber): Promise<Start> {
    const { history, locator } = this;
    const isHere =
      history.hasReached(position) || (!locator.isOver(position.epoch) && (await locator.reaches(position, client)));
    return isHere
      ? this.afterNumber(history.numberAt(position.offset), undefined, client)
      : this.afterLoss({ reason: 'epoch' }, client);
  }

  private async afterNumber(
    after: number,
    each: ReadonlyMap<string, number> | undefined,
    client: StartingSubscriber,
    loss?: Loss,
  ): Promise<Start> {
    const topics = topicsOf(client);
    await this.loader.load(topics, after, client);
    const starts = new Map(each);
    const lost: string[] = [];
    for (const name of topics) {
      const from = this.history.interest.get(name)?.window?.completeAfter ?? after;
      if (from > Math.max(after, starts.get(name) ?? 0)) {
        starts.set(name, from);
        lost.push(name);
      }
    }
    const isLost = loss ?? (lost.length > 0 ? { reason: 'evicted' as const, topics: lost } : undefined);
    return { after, each: starts.size > 0 ? starts : undefined, loss: isLost };
  }

  /** The client receives all events of its topics that the log has. */
  private async afterLoss(loss: Loss, client: StartingSubscriber): Promise<Start> {
    const { history, loader } = this;
    const topics = topicsOf(client);
    await loader.load(topics, history.floor, client);
    const each = new Map(
      topics.map((name) => [name, history.interest.get(name)?.window?.completeAfter ?? history.last]),
    );
    return { after: history.floor, each, loss };
  }
}

function topicsOf({ options }: StartingSubscriber): readonly string[] {
  return options.topics ?? [];
}

/** Returns the index of the first of the newest events that users have published, among those before an index. */
function indexOfNewest(window: TopicWindow<LogEvent>, count: number, before: number): number {
  let index = before;
  for (let missing = count; missing > 0 && index > 0; ) {
    index--;
    missing -= window.at(index)?.isPublished ? 1 : 0;
  }
  return index;
}
