import { randomBytes } from 'node:crypto';
import type { Broker, BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';

/** How often a process renews its lease within the time of the lease. */
const RENEWALS = 3;
/** How long the list of the processes is kept after the last renewal, in milliseconds. */
const KEEP_LIST_MS = 24 * 3_600_000;
/** When a list of processes is longer than this, those without a lease are removed from it. */
const LONG_LIST = 64;
/** How often a write with a condition is tried again. */
const TRIES = 10;

/** The content of a lease. Once its log has expired, the runs of its process are lost. */
interface Lease {
  /** Increases when the process has found its lease gone, so that its runs may have disappeared, and its viewers may not be counted any more. */
  readonly life: number;
}

/** This process as one of those that share the runs: its lease, and its place in the list of all. */
export class RunNode {
  /** Identifies the process. */
  readonly id = randomBytes(8).toString('hex');
  /** See {@link Lease.life}. */
  life = 0;
  /** What this process has written, and where. `undefined` if that is not known. */
  private written: { readonly at: BrokerPosition; readonly life: number } | undefined;
  /** Until when the lease is valid, on the clock of `performance.now()`. */
  private until = 0;
  private renewing: NodeJS.Timeout | undefined;
  private work: Promise<void> = Promise.resolve();
  /** The write that begins after the present one. */
  private next: Promise<void> | undefined;

  /**
   * @param prefix the first part of the names of all logs
   * @param onRenew called at each renewal
   */
  constructor(
    private readonly prefix: string,
    private readonly broker: Broker & BrokerRuns,
    private readonly lease: number,
    private readonly onRenew: () => void,
    private readonly warn: (message: string, error?: unknown) => void,
  ) {}

  /** Takes the lease. Throws if the broker cannot be reached, or refuses. */
  async enter(): Promise<void> {
    await this.write();
    await this.enlist();
    this.renewing = setInterval(() => {
      void this.renew();
      this.onRenew();
    }, this.lease / RENEWALS);
    this.renewing.unref();
  }

  /** Resolves when this process has a lease, so that nobody takes a run for lost that it starts now. */
  async ready(): Promise<void> {
    if (performance.now() >= this.until) {
      await this.renew();
    }
  }

  /** Returns the lease of a process, or `undefined` if it has none. */
  async leaseOf(node: string): Promise<Lease | undefined> {
    const [record] = await this.broker.read(this.logOf(node), 0, 1);
    return record && (JSON.parse(record.data) as Lease);
  }

  /** Returns the processes that have a lease, other than this one. */
  async others(): Promise<string[]> {
    const nodes = (await this.listed()).filter((node) => node !== this.id);
    const leases = await Promise.all(nodes.map((node) => this.leaseOf(node)));
    return nodes.filter((_, index) => leases[index] !== undefined);
  }

  async leave(): Promise<void> {
    clearInterval(this.renewing);
    await this.work;
    await this.broker.drop(this.logOf(this.id));
  }

  /** Writes the lease after the present write. Calls before that share one write: while the broker is away, each takes long. */
  private renew(): Promise<void> {
    if (!this.next) {
      this.next = this.work.then(() => {
        this.next = undefined;
        return this.write();
      });
      this.work = this.next
        .then(() => this.keepList())
        .catch((error: unknown) => this.warn('The lease of the runs of this process could not be renewed', error));
    }
    return this.next;
  }

  private async write(): Promise<void> {
    const until = performance.now() + this.lease;
    const { written } = this;
    const renewed = written?.life === this.life && (await this.broker.expire(this.logOf(this.id), this.lease));
    if (!renewed && !(written && (await this.replace(written.at)))) {
      await this.take();
    }
    this.until = until;
  }

  /** Writes the lease anew, since it has expired, or the answer to an earlier write was lost. There is no moment without one. */
  private async take(): Promise<void> {
    const [known] = await this.broker.read(this.logOf(this.id), 0, 1);
    if (!known) {
      this.life++;
    }
    await this.replace(known);
  }

  private async replace(after: BrokerPosition | undefined): Promise<BrokerPosition | false> {
    const { life } = this;
    const entry: BrokerEntry = { encoding: 'json', data: JSON.stringify({ life } satisfies Lease) };
    const at = await this.broker.create(this.logOf(this.id), [entry], this.lease, after && { after });
    this.written = at ? { at, life } : undefined;
    return at;
  }

  private async keepList(): Promise<void> {
    if (!(await this.broker.expire(this.list, KEEP_LIST_MS))) {
      await this.enlist();
    }
  }

  /** Adds this process to the list of all. */
  private async enlist(): Promise<void> {
    const entry: BrokerEntry = { encoding: 'text', data: this.id };
    for (let tries = 0; tries < TRIES; tries++) {
      if (
        (await this.broker.create(this.list, [entry], KEEP_LIST_MS)) ||
        (await this.broker.appendAll(this.list, [entry]))
      ) {
        break;
      }
    }
    await this.broker.expire(this.list, KEEP_LIST_MS);
    await this.shorten();
  }

  private async shorten(): Promise<void> {
    const records = await this.readList();
    const last = records.at(-1);
    if (last && records.length > LONG_LIST) {
      const entries = [this.id, ...(await this.others())].map((data): BrokerEntry => ({ encoding: 'text', data }));
      // If another process was added in the meantime, the list stays as it is until the next one is.
      await this.broker.create(this.list, entries, KEEP_LIST_MS, { after: last });
    }
  }

  private async listed(): Promise<string[]> {
    return [...new Set((await this.readList()).map(({ data }) => data))];
  }

  private async readList(): Promise<readonly BrokerRecord[]> {
    const all: BrokerRecord[] = [];
    for (;;) {
      const records = await this.broker.read(this.list, all.at(-1)?.offset ?? 0, LONG_LIST * 4);
      if (records.length === 0) {
        return all;
      }
      all.push(...records);
    }
  }

  private get list(): string {
    return `${this.prefix}/nodes`;
  }

  private logOf(node: string): string {
    return `${this.prefix}/node-${node}`;
  }
}
