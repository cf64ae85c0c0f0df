import type { Broker, BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import type { RunInfo } from './run.options.js';

/** The shortest time between two writes, in milliseconds. */
const WRITE_MS = 250;

/** The list of the runs of this process, which the others read for `list()`. It is not the lease, which is read far more often. */
export class RunSheet {
  /** What was written, and where. `undefined` if that is not known. */
  private written: { readonly at: BrokerPosition; readonly data: string } | undefined;
  private changing: NodeJS.Timeout | undefined;
  private work: Promise<void> | undefined;
  private closed = false;

  /**
   * @param prefix the first part of the names of all logs
   * @param node identifies this process
   * @param keep how long the list is kept, unless it is renewed, in milliseconds
   * @param runs returns the runs of this process
   */
  constructor(
    private readonly prefix: string,
    private readonly node: string,
    private readonly broker: Broker & BrokerRuns,
    private readonly keep: number,
    private readonly runs: () => readonly RunInfo[],
    private readonly warn: (message: string, error?: unknown) => void,
  ) {}

  /** Called when the runs of this process have changed. */
  changed(): void {
    if (!this.closed) {
      this.changing ??= setTimeout(() => {
        this.changing = undefined;
        this.renew();
      }, WRITE_MS).unref();
    }
  }

  /** Writes the list, unless a write is in progress: the next renewal writes it then. */
  renew(): void {
    this.work ??= this.write()
      .catch((error: unknown) => this.warn('The list of the runs of this process could not be written', error))
      .finally(() => {
        this.work = undefined;
      });
  }

  /** Returns the runs of a process. */
  async of(node: string): Promise<readonly RunInfo[]> {
    const [record] = await this.broker.read(this.logOf(node), 0, 1);
    return record ? (JSON.parse(record.data) as RunInfo[]) : [];
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.changing);
    await this.work;
    await this.broker.drop(this.logOf(this.node));
  }

  private async write(): Promise<void> {
    const log = this.logOf(this.node);
    const data = JSON.stringify(this.runs());
    const { written } = this;
    if (written?.data === data && (await this.broker.expire(log, this.keep))) {
      return;
    }
    this.written = undefined;
    const entry: BrokerEntry = { encoding: 'json', data };
    const after = written?.at ?? (await this.broker.read(log, 0, 1))[0];
    const replaced = after && (await this.broker.create(log, [entry], this.keep, { after }));
    const at = replaced || (await this.broker.create(log, [entry], this.keep));
    this.written = at ? { at, data } : undefined;
  }

  private logOf(node: string): string {
    return `${this.prefix}/list-${node}`;
  }
}
