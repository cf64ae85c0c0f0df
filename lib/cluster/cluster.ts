import { randomBytes } from 'node:crypto';
import type { Broker } from '../broker/broker.js';
import type { BrokerRoster } from '../broker/roster.js';
import { ALL_TOPICS, ofTopic, TOTAL } from '../hub/presence.js';
import { atMost } from '../util/at-most.js';
import type { ServerCloseCode } from '../util/close-reason.js';
import { checkLabels, type StreamLabels } from '../util/labels.js';
import { type CloseCommand, CONTROL_LOG, ControlLog, type CountCommand, MOST_COMMANDS } from './control-log.js';
import { RosterLog } from './roster-log.js';
import { ROUND, Sheet } from './sheet.js';

/** How long this process waits for the answers of others, in milliseconds. Tests make it shorter. */
export const ANSWER = { ms: 2_000 };
/** The times between two looks at the answers, in milliseconds: from the first to the longest. */
const FIRST_LOOK_MS = 4;
const LONGEST_LOOK_MS = 128;
/** How long every process stores the figures of a hub after it was counted anywhere, in milliseconds. */
const COUNTED_MS = 60_000;
/** How long an answer stays in the roster, in milliseconds. */
const ANSWERED_MS = 10_000;
/** How long the broker may take to remove this process from its roster, in milliseconds. */
const LEAVE_MS = 1_000;

/** The figure of every process in the roster of the control log. */
const MEMBER = 'member';

type Warn = (message: string, error?: unknown) => void;

/**
 * Closes the streams of this process that have labels.
 * @param age how long ago another process has closed them, in milliseconds
 * @returns their number
 */
type CloseStreams = (labels: StreamLabels, code: ServerCloseCode, age: number) => number;

/** Returns the hub of this process with a name, if there is one. */
type HubByName = (name: string) => { readonly figures: ReadonlyMap<string, number> } | undefined;

/**
 * This process among those that share a broker. Each of them is in the roster of the broker as long as it runs, so that a process knows from
 * which others to expect an answer.
 */
export class Cluster {
  private close: CloseStreams = () => 0;
  /** The newest commands, as long as this process can have no streams. */
  private early: readonly CloseCommand[] | undefined = [];
  private control: ControlLog | undefined;
  private readonly id = randomBytes(8).toString('hex');
  private readonly membership: Sheet;
  /** The answers to commands, by their name, each with the time at which it was given. */
  private readonly answers = new Map<string, { readonly figure: number; readonly at: number }>();
  /** The hubs that were counted, each with the time of the last command. */
  private readonly counted = new Map<string, { readonly sheet: Sheet; at: number }>();
  private timer: NodeJS.Timeout | undefined;
  private failing = false;
  /** Whether this process is leaving, so that it stores nothing in the roster any more. */
  private leaving = false;

  private constructor(
    private readonly roster: BrokerRoster,
    private readonly hubs: HubByName,
    private readonly warn: Warn,
  ) {
    this.membership = new Sheet(roster, CONTROL_LOG, this.id, () => this.figures());
  }

  /** Joins the processes that share a broker. */
  static async join(broker: Broker, hubs: HubByName, warn: Warn): Promise<Cluster> {
    const cluster = new Cluster(broker.roster ?? (await RosterLog.open(broker, warn)), hubs, warn);
    cluster.control = await ControlLog.open(broker, cluster.id, cluster, warn);
    await cluster.membership.put();
    cluster.timer = setInterval(() => cluster.round(), ROUND.ms).unref();
    return cluster;
  }

  /** Set as soon as this process can have streams. It is called for the commands that came before, too. */
  set closeStreams(close: CloseStreams) {
    this.close = close;
    for (const command of this.early ?? []) {
      this.execute(command);
    }
    this.early = undefined;
  }

  /** Closes the streams with labels in the other processes. Resolves to their number, as far as processes answer in time. */
  async closeElsewhere(labels: StreamLabels, code: ServerCloseCode): Promise<number> {
    const answer = `answer ${randomBytes(6).toString('hex')}`;
    await this.control?.send({ do: 'close', labels, answer, code, at: Date.now() });
    let closed = 0;
    await this.until(async () => {
      const figures = this.others(await this.roster.list(CONTROL_LOG, [answer])).map((each) => each.get(answer));
      // An answer is larger by 1 than the number, since a figure of 0 is none.
      closed = figures.reduce<number>((sum, figure) => sum + Math.max(0, (figure ?? 0) - 1), 0);
      return !figures.includes(undefined);
    });
    return closed;
  }

  /** Returns the number of subscribers of a hub in the other processes, as far as processes answer in time. */
  async countElsewhere(hub: string, topic: string | undefined): Promise<number> {
    const names = topic === undefined ? [TOTAL] : [ALL_TOPICS, ofTopic(topic)];
    const known = this.counted.get(hub);
    if (!known || Date.now() - known.at > COUNTED_MS / 2) {
      await this.control?.send({ do: 'count', hub });
    }
    let count = 0;
    let asked = !known;
    await this.until(async () => {
      const [members, sizes] = await Promise.all([this.roster.list(CONTROL_LOG, []), this.roster.list(hub, names)]);
      const figures = this.others(sizes).flatMap((each) => [...each.values()]);
      count = figures.reduce((sum, figure) => sum + figure, 0);
      const complete = [...members.keys()].every((member) => member === this.id || sizes.has(member));
      if (!complete && !asked) {
        // A process that has started since the last command.
        asked = true;
        await this.control?.send({ do: 'count', hub });
      }
      return complete;
    });
    return count;
  }

  /** Called by the control log. */
  onClose(command: CloseCommand): void {
    const { labels, answer } = command;
    checkLabels(labels, 'The command of another process');
    this.early = this.early && [...this.early, command].slice(-MOST_COMMANDS);
    const closed = this.execute(command);
    if (ageOf(command) < ANSWERED_MS) {
      this.answers.set(answer, { figure: closed + 1, at: Date.now() });
      this.store(this.membership);
    }
  }

  /** Called by the control log. */
  onCount({ hub }: CountCommand): void {
    const figures = () => this.hubs(hub)?.figures ?? new Map<string, number>();
    const counted = this.counted.get(hub) ?? { sheet: new Sheet(this.roster, hub, this.id, figures), at: 0 };
    counted.at = Date.now();
    this.counted.set(hub, counted);
    this.store(counted.sheet);
  }

  /** Leaves the processes that share the broker. */
  async leave(): Promise<void> {
    clearInterval(this.timer);
    this.leaving = true;
    const sheets = [this.membership, ...[...this.counted.values()].map(({ sheet }) => sheet)];
    this.counted.clear();
    await atMost(LEAVE_MS, this.watch(Promise.all(sheets.map((sheet) => sheet.remove()))));
    await Promise.all([this.control?.close(), this.roster instanceof RosterLog && this.roster.close()]);
  }

  private execute(command: CloseCommand): number {
    // A later version may send codes that this one does not know.
    const code = command.code === 'revoked' ? 'revoked' : 'server-closed';
    return this.close(command.labels, code, ageOf(command));
  }

  /** The figures of this process in the roster of the control log. */
  private figures(): ReadonlyMap<string, number> {
    return new Map([[MEMBER, 1], ...[...this.answers].map(([name, { figure }]) => [name, figure] as const)]);
  }

  private round(): void {
    const now = Date.now();
    for (const [name, { at }] of this.answers) {
      if (now - at > ANSWERED_MS) {
        this.answers.delete(name);
      }
    }
    this.store(this.membership);
    for (const [hub, { sheet, at }] of this.counted) {
      if (now - at > COUNTED_MS) {
        this.counted.delete(hub);
        void this.watch(sheet.remove());
      } else {
        this.store(sheet);
      }
    }
  }

  private store(sheet: Sheet): void {
    if (!this.leaving) {
      void this.watch(sheet.put());
    }
  }

  /** Logs a failure once, until the broker works again. A process that cannot leave is removed from the roster some seconds later, so that this is not logged. */
  private async watch(stored: Promise<unknown>): Promise<void> {
    try {
      await stored;
      this.failing = false;
    } catch (error) {
      if (!this.failing && !this.leaving) {
        this.failing = true;
        this.warn(
          'The broker does not keep the figures of processes, so that what processes know of each other is incomplete',
          error,
        );
      }
    }
  }

  private others<F>(processes: ReadonlyMap<string, F>): F[] {
    return [...processes].filter(([process]) => process !== this.id).map(([, figures]) => figures);
  }

  /** Repeats a look until it resolves to `true`, for a limited time. A look that fails is repeated too. */
  private async until(look: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + ANSWER.ms;
    let done = false;
    for (let wait = FIRST_LOOK_MS; !done && Date.now() < end; wait = Math.min(2 * wait, LONGEST_LOOK_MS)) {
      const looked = look().then((complete) => {
        done = complete;
      });
      await atMost(end - Date.now(), this.watch(looked));
      if (!done) {
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }
}

/** Returns how long ago a command was sent, in milliseconds. */
function ageOf({ at }: CloseCommand): number {
  return at === undefined ? 0 : Math.max(0, Date.now() - at);
}
