import type { Broker } from '../broker/broker.js';
import type { Hub } from '../hub/hub.js';
import { type MemberDirectory, NO_TOPIC } from '../hub/members.js';
import { atMost } from '../util/at-most.js';
import { Announcer } from './announcer.js';
import { KEPT, type MemberMessage, openMemberLog } from './member-log.js';
import { MemberOutbox } from './member-outbox.js';
import { MemberState } from './member-state.js';
import type { MessageLog } from './message-log.js';

/**
 * How often each process says that it is there; how long a member stays after its last subscription; and how often it is looked who has stayed so long. In
 * milliseconds. Tests make them shorter.
 */
export const PACE = { beatMs: 2_000, graceMs: 5_000, lookMs: 1_000 };
/** How long this process waits for the others, in milliseconds. */
const ANSWER_MS = 2_000;
/** The time before this process tries again to take part, in milliseconds. */
const RETRY_MS = 1_000;
/** How long the broker may take to receive the last message of this process, in milliseconds. */
const LEAVE_MS = 1_000;

type Warn = (message: string, error?: unknown) => void;

/** Returns the hub of this process with a name, if there is one. */
type HubByName = (name: string) => Hub | undefined;

/**
 * The members of hubs in all processes that share a broker. A process takes part from the first subscription with a member, or the first call of
 * `hub.members()`. From then on, it holds the members of all processes in memory.
 */
export class ClusterMembers {
  private readonly outbox: MemberOutbox;
  private readonly state: MemberState;
  private readonly announcer: Announcer;
  private log: MessageLog<MemberMessage> | undefined;
  private opening: Promise<void> | undefined;
  /** The processes whose members are not known yet. `undefined` until they are known. */
  private unknown: Set<string> | undefined;
  private onKnown: () => void = () => undefined;
  private readonly known = new Promise<void>((resolve) => {
    this.onKnown = resolve;
  });
  private readonly timers: NodeJS.Timeout[] = [];
  /** The hubs of this process. */
  private readonly names = new Set<string>();
  private failing = false;
  private leaving = false;

  constructor(
    private readonly broker: Broker,
    private readonly hubs: HubByName,
    private readonly warn: Warn,
  ) {
    this.outbox = new MemberOutbox({
      send: (message) => this.watch(this.log?.send(message)),
      infoOf: ([hub, topic, id]) => hubs(hub)?.localMembers.infoOf(topic, id),
      own: () => this.state.of(this.outbox.id),
      leaving: () => this.state.leavingFor(this.outbox.id),
    });
    this.announcer = new Announcer(
      async (hub, topic, changes) => hubs(hub)?.announce(topic === NO_TOPIC ? undefined : topic, changes),
      (error) => this.onFailure(error),
    );
    this.state = new MemberState(
      {
        onChange: (change, member, by) => by === this.outbox.id && this.announcer.add(change, member),
        onComplete: (process) => this.onComplete(process),
        onLate: (process) => this.outbox.remove([process]),
      },
      () => PACE.graceMs,
    );
  }

  /** Returns the members of a hub, as the hub sees them. */
  of(hub: string): MemberDirectory {
    this.names.add(hub);
    return {
      onChange: (topic, id) => {
        if (this.leaving) {
          return;
        }
        this.outbox.onChange([hub, topic, id]);
        void this.open();
      },
      list: async (topic) => {
        await atMost(
          ANSWER_MS,
          this.open().then(() => this.known),
        );
        await atMost(ANSWER_MS, this.log ? this.outbox.echo() : Promise.resolve());
        return this.state.list(hub, topic);
      },
    };
  }

  /** Leaves the processes that share the broker, before the hubs are closed. */
  async leave(): Promise<void> {
    this.leaving = true;
    for (const timer of this.timers) {
      clearInterval(timer);
    }
    if (this.opening) {
      await atMost(
        LEAVE_MS,
        this.opening.then(() => this.announcer.close()),
      );
      await atMost(
        LEAVE_MS,
        this.outbox.close().catch(() => undefined),
      );
    }
  }

  /** Receives nothing any more. */
  async close(): Promise<void> {
    await this.log?.close();
  }

  /** Takes part, if this process does not yet. Resolves also if that fails: it is then tried again later. */
  private open(): Promise<void> {
    this.opening ??= this.join().catch((error: unknown) => {
      this.opening = undefined;
      this.onFailure(error);
      setTimeout(() => !this.leaving && void this.open(), RETRY_MS).unref();
    });
    return this.opening;
  }

  private async join(): Promise<void> {
    this.log = await openMemberLog(this.broker, this.warn);
    this.log.receive(KEPT.limit, {
      onMessage: (message) => this.onMessage(message),
      onReset: () => this.onReset(),
    });
    if (this.leaving) {
      await this.log.close();
      return;
    }
    this.outbox.sendHello();
    this.timers.push(
      setInterval(() => this.outbox.sendBeat(), PACE.beatMs).unref(),
      setInterval(() => this.endLeaving(), PACE.lookMs).unref(),
    );
  }

  private onMessage(message: MemberMessage): void {
    const { outbox, state } = this;
    const isOwn = message.from === outbox.id;
    state.apply(message);
    if (isOwn) {
      this.onEcho(message);
    } else if (message.do === 'hello' && this.unknown) {
      outbox.sendSheet();
    }
    if (message.gone?.includes(outbox.id)) {
      // The others have not received anything from this process for a while.
      outbox.rename();
      this.sendAgain();
    }
  }

  private onEcho(message: MemberMessage): void {
    const { outbox, state } = this;
    outbox.onEcho(message.n);
    if (message.do === 'beat') {
      outbox.remove(state.beat(outbox.id));
    } else if (message.do === 'hello') {
      this.unknown = new Set(state.processes.filter((process) => process !== outbox.id));
      this.timers.push(setTimeout(() => this.onAllKnown(), ANSWER_MS).unref());
      this.onComplete(outbox.id);
    }
  }

  /** Messages were lost. As at the start, changes wait until this process knows the members of the others: it may be wrong about who has joined. */
  private onReset(): void {
    this.outbox.hold();
    this.outbox.sendHello();
    this.sendAgain();
  }

  /** Sends what this process has, and what the others may still have of it. */
  private sendAgain(): void {
    const { outbox, state } = this;
    for (const hub of this.names) {
      for (const [topic, id] of this.hubs(hub)?.localMembers ?? []) {
        outbox.onChange([hub, topic, id]);
      }
    }
    for (const [hub, topic, id] of state.of(outbox.id)) {
      outbox.onChange([hub, topic, id]);
    }
  }

  private onComplete(process: string): void {
    this.unknown?.delete(process);
    if (this.unknown?.size === 0) {
      this.onAllKnown();
    }
  }

  private onAllKnown(): void {
    this.outbox.release();
    this.onKnown();
  }

  private endLeaving(): void {
    const { outbox, state, hubs } = this;
    const due = state.due(outbox.id).filter(({ place }) => hubs(place.hub)?.isOpen);
    if (due.length > 0) {
      outbox.end(due.map(({ place: { hub, topic }, id }) => [hub, topic, id]));
    }
  }

  private async watch(sent: Promise<void> | undefined): Promise<void> {
    try {
      await sent;
      this.failing = false;
    } catch (error) {
      this.onFailure(error);
      throw error;
    }
  }

  /** Logs a failure once, until the broker works again. */
  private onFailure(error: unknown): void {
    if (!this.failing && !this.leaving) {
      this.failing = true;
      this.warn('The broker does not pass on who is there, so that members are incomplete. This is tried again', error);
    }
  }
}
