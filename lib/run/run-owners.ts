import { createHash } from 'node:crypto';
import type { Broker, BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { StreamError } from '../util/errors.js';

/** How long the list of an owner is kept whose runs have no maximum duration, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;
/** How often a write with a condition is tried again. */
const TRIES = 50;
/** The maximum number of records of a list that are read. It is written anew long before. */
const MOST = 1_024;
/** When a list has more records than this, it is written anew. */
const LONG = 32;

/** A run in the list of its owner. */
export interface OwnerEntry {
  readonly run: string;
  readonly node: string;
  /** Identifies the call that has added it: of several calls at the same time for one run, one starts it, and the others remove their entries. */
  readonly nonce: string;
}

/** Counts the runs of each owner in all processes. The list of an owner is a log, so that two processes cannot both take the last place. */
export class RunOwners {
  /** @param isAlive returns whether a process has a lease */
  constructor(
    private readonly prefix: string,
    private readonly broker: Broker & BrokerRuns,
    private readonly limit: number,
    private readonly maxDuration: number,
    private readonly isAlive: (node: string) => Promise<boolean>,
  ) {}

  /**
   * Adds a run to the list of its owner.
   * @throws {StreamError} `run-limit` if the owner has too many
   */
  async enter(owner: string | undefined, entry: OwnerEntry): Promise<void> {
    if (owner === undefined || this.limit === Infinity) {
      return;
    }
    await this.change(owner, async (running) => {
      const alive = this.hasRoom(running, entry) ? running : await this.aliveOf(running);
      if (!this.hasRoom(alive, entry)) {
        throw new StreamError(
          'run-limit',
          `You have ${this.limit} runs in progress already: wait for one of them, or stop it`,
          {
            statusCode: 429,
          },
        );
      }
      return [...alive, entry];
    });
  }

  /** Removes a run from the list of its owner. */
  async leave(owner: string | undefined, { nonce }: OwnerEntry): Promise<void> {
    if (owner !== undefined && this.limit !== Infinity) {
      await this.change(owner, async (running) => running.filter((each) => each.nonce !== nonce));
    }
  }

  private hasRoom(running: readonly OwnerEntry[], { run }: OwnerEntry): boolean {
    return new Set(running.map((each) => each.run)).add(run).size <= this.limit;
  }

  private async change(
    owner: string,
    next: (running: readonly OwnerEntry[]) => Promise<readonly OwnerEntry[]>,
  ): Promise<void> {
    const log = `${this.prefix}/owner-${createHash('sha256').update(owner).digest('hex')}`;
    for (let tries = 0; tries < TRIES; tries++) {
      const last = (await this.broker.read(log, 0, MOST)).at(-1);
      const entry: BrokerEntry = { encoding: 'json', data: JSON.stringify(await next(runningIn(last))) };
      if (await this.write(log, entry, last)) {
        return;
      }
    }
    throw new StreamError('broker-busy', 'The list of the runs of an owner changes too often: try again', {
      statusCode: 503,
    });
  }

  private async write(
    log: string,
    entry: BrokerEntry,
    last: BrokerRecord | undefined,
  ): Promise<BrokerPosition | false> {
    const ms = this.maxDuration === Infinity ? LONGEST_MS : this.maxDuration;
    if (!last) {
      return this.broker.create(log, [entry], ms);
    }
    if (entry.data === '[]' || last.offset >= LONG) {
      return this.broker.create(log, [entry], entry.data === '[]' ? 1 : ms, { after: last });
    }
    return this.broker.appendAll(log, [entry], { after: last, expire: ms });
  }

  private async aliveOf(entries: readonly OwnerEntry[]): Promise<readonly OwnerEntry[]> {
    const nodes = [...new Set(entries.map(({ node }) => node))];
    const alive = new Set<string>();
    for (const node of nodes) {
      if (await this.isAlive(node)) {
        alive.add(node);
      }
    }
    return entries.filter(({ node }) => alive.has(node));
  }
}

/** Each record contains the whole list. */
function runningIn(last: BrokerRecord | undefined): readonly OwnerEntry[] {
  return last ? (JSON.parse(last.data) as OwnerEntry[]) : [];
}
