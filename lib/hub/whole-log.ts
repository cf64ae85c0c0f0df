import type { Broker, BrokerEntry, BrokerPosition, BrokerRetention } from '../broker/broker.js';
import type { HubReset } from '../event/hub-event.js';
import { FanOut } from './fan-out.js';
import { History } from './history.js';
import type { HubLog, Lane } from './lane.js';
import { Pages } from './pages.js';
import type { FindStart, Loss, StartRequest } from './start.js';
import { type Request, StartFinder } from './start-finder.js';

/** The log of a hub that this process receives as a whole. */
export class WholeLog implements HubLog, Lane {
  readonly fanOut: FanOut;
  private readonly history: History;
  private readonly pages: Pages;
  private readonly starts: StartFinder;

  /**
   * @param onDelivered called when an event was received
   * @param newest returns the position of the newest event in the log that was published in this process
   */
  constructor(
    readonly name: string,
    broker: Broker,
    retention: BrokerRetention,
    readonly warn: (message: string, error?: unknown) => void,
    onDelivered: () => void,
    private readonly newest: () => BrokerPosition | undefined,
  ) {
    this.history = new History(
      name,
      broker,
      retention,
      (event) => {
        this.fanOut.send(event);
        onDelivered();
        this.starts.onDelivered();
      },
      warn,
    );
    this.starts = new StartFinder(this.history);
    this.pages = new Pages(this.history.window, this.history.budget);
    this.fanOut = new FanOut(this.pages);
  }

  get floor(): number {
    return this.history.floor;
  }

  get figures(): { readonly received: number; readonly kept: number } {
    const { last, oldest, received } = this.history;
    return { received, kept: last - oldest + 1 };
  }

  async open(): Promise<void> {
    await this.history.open();
    this.fanOut.startAfter(this.history.last);
  }

  openToAppend(): Promise<void> {
    return this.history.openToAppend();
  }

  append(entry: BrokerEntry): Promise<BrokerPosition> {
    return this.history.append(entry);
  }

  id(position: BrokerPosition): string {
    return this.history.id(position);
  }

  expects(): boolean {
    return true;
  }

  isDelivered(position: BrokerPosition): boolean {
    return this.history.isDelivered(position);
  }

  laneOf(): Lane {
    return this;
  }

  finished(): Promise<void> {
    return this.fanOut.finished();
  }

  stopRetrying(): void {
    this.history.stopRetrying();
  }

  close(): Promise<void> {
    return this.history.close();
  }

  endStarts(): void {
    this.starts.close();
  }

  clear(): void {
    this.pages.clear();
    this.history.window.clear();
  }

  idAt(number: number): string {
    return this.history.idAt(number);
  }

  oldestStart(number: number): number {
    return this.history.oldestStart(number);
  }

  requestOf({ after, last }: StartRequest): FindStart {
    const request: Request =
      after === undefined || after === '' ? this.starts.newest(last, this.newest()) : this.starts.after(after);
    return (client) => this.starts.find(request, client);
  }

  continueAfter(): undefined {
    return undefined;
  }

  /** The client continues with the oldest event of the history. */
  reset({ reason }: Loss): { readonly after: number; readonly data: HubReset } {
    const { fanOut, history } = this;
    // If the log is about to be replaced, the client is sent only this reset, and not the one for live subscribers.
    const after = history.oldestStart(Math.max(fanOut.delivered, history.floor));
    return { after, data: history.resetAt(after, reason) };
  }

  enter(): void {
    // All events are received.
  }

  leave(): void {
    // All events are received.
  }
}
