import { randomBytes } from 'node:crypto';
import type { Broker, BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import type { RunInfo } from './run.options.js';

/** How often a process renews its lease within the time of the lease. */
const RENEWALS = 3;
/** The shortest time between two writes of the runs of this process, in milliseconds. */
const WRITE_MS = 250;
/** How long the list of the processes is kept after the last renewal, in milliseconds. */
const KEEP_LIST_MS = 24 * 3_600_000;
/** When a list of processes is longer than this, those without a lease are removed from it. */
const LONG_LIST = 64;
/** How often a write with a condition is tried again. */
const TRIES = 10;

/** What a process says about itself. Its log is its lease: once that has expired, its runs are lost. */
interface NodeSheet {
  /** Increases when the process has found its lease gone, so that its runs may have disappeared, and its viewers may not be counted any more. */
  readonly life: number;
  readonly runs: readonly RunInfo[];
}

/** This process as one of those that share the runs: its lease, and the list of its runs for the others. */
export class RunNode {
  /** Identifies the process. */
  readonly id = randomBytes(8).toString('hex');
  /** See {@link NodeSheet.life}. */
  life = 0;
  /** What this process has written, and where. `undefined` if that is not known. */
  private written: { readonly at: BrokerPosition; readonly data: string } | undefined;
  /** Until when the lease is valid, on the clock of `performance.now()`. */
  private until = 0;
  private left = false;
  private changing: NodeJS.Timeout | undefined;
  private renewing: NodeJS.Timeout | undefined;
  private work: Promise<void> = Promise.resolve();
  /** The write that begins after the present one. */
  private next: Promise<void> | undefined;

  /**
   * @param prefix the first part of the names of all logs
   * @param runs returns the runs of this process
   * @param onRenew called at each renewal
   */
  constructor(
    private readonly prefix: string,
    private readonly broker: Broker & BrokerRuns,
    private readonly lease: number,
    private readonly runs: () => readonly RunInfo[],
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

  /** Called when the runs of this process have changed. */
  changed(): void {
    if (this.left) {
      return;
    }
    this.changing ??= setTimeout(() => {
      this.changing = undefined;
      void this.renew();
    }, WRITE_MS).unref();
  }

  /** Returns what a process says about itself, or `undefined` if it has no lease. */
  async sheetOf(node: string): Promise<NodeSheet | undefined> {
    const [record] = await this.broker.read(this.logOf(node), 0, 1);
    return record && (JSON.parse(record.data) as NodeSheet);
  }

  /** Returns what the processes say about themselves that have a lease, other than this one. */
  async others(): Promise<Map<string, NodeSheet>> {
    const nodes = (await this.listed()).filter((node) => node !== this.id);
    const sheets = await Promise.all(nodes.map((node) => this.sheetOf(node)));
    const others = new Map<string, NodeSheet>();
    sheets.forEach((sheet, index) => {
      const node = nodes[index];
      if (sheet && node !== undefined) {
        others.set(node, sheet);
      }
    });
    return others;
  }

  async leave(): Promise<void> {
    this.left = true;
    clearInterval(this.renewing);
    clearTimeout(this.changing);
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
    const runs = this.runs();
    const { written } = this;
    const renewed =
      written?.data === JSON.stringify({ life: this.life, runs } satisfies NodeSheet) &&
      (await this.broker.expire(this.logOf(this.id), this.lease));
    if (!renewed && !(await this.replace(written?.at, runs))) {
      await this.take(runs);
    }
    this.until = until;
  }

  /** Writes the lease anew, since it has expired, or the answer to an earlier write was lost. There is no moment without one. */
  private async take(runs: readonly RunInfo[]): Promise<void> {
    const [known] = await this.broker.read(this.logOf(this.id), 0, 1);
    if (!known) {
      this.life++;
    }
    await this.replace(known, runs, true);
  }

  /** @param creates whether the lease is created if there is no position */
  private async replace(
    after: BrokerPosition | undefined,
    runs: readonly RunInfo[],
    creates = false,
  ): Promise<BrokerPosition | false> {
    if (!after && !creates) {
      return false;
    }
    const data = JSON.stringify({ life: this.life, runs } satisfies NodeSheet);
    const entry: BrokerEntry = { encoding: 'json', data };
    const at = await this.broker.create(this.logOf(this.id), [entry], this.lease, after && { after });
    this.written = at ? { at, data } : undefined;
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
    const records = await this.broker.read(this.list, 0, LONG_LIST * 4);
    const last = records.at(-1);
    if (last && records.length > LONG_LIST) {
      const entries = [this.id, ...(await this.others()).keys()].map(
        (data): BrokerEntry => ({ encoding: 'text', data }),
      );
      // If another process was added in the meantime, the list stays as it is until the next one is.
      await this.broker.create(this.list, entries, KEEP_LIST_MS, { after: last });
    }
  }

  private async listed(): Promise<string[]> {
    const nodes = new Set<string>();
    for (let after = 0; ; ) {
      const records = await this.broker.read(this.list, after, LONG_LIST * 4);
      for (const { data } of records) {
        nodes.add(data);
      }
      const last = records.at(-1);
      if (!last) {
        return [...nodes];
      }
      after = last.offset;
    }
  }

  private get list(): string {
    return `${this.prefix}/nodes`;
  }

  private logOf(node: string): string {
    return `${this.prefix}/node-${node}`;
  }
}
