import type { LeavingEntry, MemberEntry, MemberKey, MemberMessage, MemberSheet } from './member-log.js';

/** The number of beats that a process may miss before it is taken to have crashed. */
const MISSED_BEATS = 5;
/** The number of processes that are remembered after they have left, so that late messages of them are ignored. */
const REMEMBERED = 1_000;
/** How long a process waits for another one to announce that members have left, in milliseconds, before it does so itself. */
const TAKE_OVER_MS = 2_000;

/** A topic of a hub, with its members. */
interface Place {
  readonly hub: string;
  readonly topic: string;
  readonly members: Map<string, Member>;
}

export interface Member {
  readonly place: Place;
  readonly id: string;
  /** JSON text. */
  info: string;
  /** The number of processes that have it. */
  owners: number;
}

/** A process. */
interface Peer {
  /** Its members, each with the number of the sheet that has named it last. */
  readonly members: Map<Member, number>;
  /** The number of sheets that it has started to send. */
  sheets: number;
  /** The beats of this process since the last message of that process. */
  missed: number;
}

/** A member that no process has any more. */
interface Leaving {
  /** When it leaves. */
  readonly due: number;
  /** The process that had it last. */
  readonly by: string;
}

export interface MemberStateListener {
  /** Called when a member has joined, or has other info, or has left. `by` is the process whose message says so: it alone publishes the change. */
  onChange(change: 'joined' | 'left', member: Member, by: string): void;
  /** Called when a process has named all its members, or has left. */
  onComplete(process: string): void;
  /** Called for a message of a process that has been removed: it does not know. */
  onLate(process: string): void;
}

/**
 * The members in all processes that share a broker. Each process applies the same messages in the same order, and so comes to the same result, and
 * to the same changes.
 */
export class MemberState {
  private readonly hubs = new Map<string, Map<string, Place>>();
  private readonly peers = new Map<string, Peer>();
  /** Members that no process has any more, the earliest first. They are still there until they have left. */
  private readonly leaving = new Map<Member, Leaving>();
  private readonly departed = new Set<string>();

  constructor(
    private readonly listener: MemberStateListener,
    private readonly graceMs: () => number,
  ) {}

  get processes(): string[] {
    return [...this.peers.keys()];
  }

  /** The members of a process. */
  *of(process: string): IterableIterator<MemberEntry> {
    for (const { place, id, info } of this.peers.get(process)?.members.keys() ?? []) {
      yield [place.hub, place.topic, id, info];
    }
  }

  /** The info of the members of a topic of a hub, or of all its topics, by id. */
  list(hub: string, topic: string | undefined): Map<string, string> {
    const topics = this.hubs.get(hub);
    const places = topic === undefined ? topics?.values() : [topics?.get(topic)];
    const infos = new Map<string, string>();
    for (const place of places ?? []) {
      for (const [id, { info }] of place?.members ?? []) {
        infos.set(id, info);
      }
    }
    return infos;
  }

  apply(message: MemberMessage): void {
    const { from, sheet, add = [], del = [], left = [], gone = [] } = message;
    if (this.departed.has(from)) {
      this.listener.onLate(from);
      return;
    }
    const peer = this.peers.get(from) ?? { members: new Map(), sheets: 0, missed: 0 };
    this.peers.set(from, peer);
    peer.missed = 0;
    if (sheet) {
      this.applySheet(from, peer, sheet);
    }
    for (const entry of add) {
      this.add(from, peer, entry);
    }
    for (const key of del) {
      this.release(this.find(key), peer, from);
    }
    for (const key of left) {
      this.end(this.find(key), from);
    }
    for (const process of gone) {
      this.remove(process, (member) => this.end(member, from));
    }
    if (message.do === 'bye') {
      this.remove(from, () => undefined);
    }
  }

  /** Counts a beat of this process. Returns the processes that have missed too many of them. */
  beat(self: string): string[] {
    const silent: string[] = [];
    for (const [process, peer] of this.peers) {
      if (process !== self && ++peer.missed >= MISSED_BEATS) {
        silent.push(process);
      }
    }
    return silent;
  }

  /** Returns the members whose time is over, and that a process is to announce. Another one does so later if it does not. */
  due(self: string): Member[] {
    const now = performance.now();
    const due: Member[] = [];
    if (this.leaving.size > 0) {
      const turnOf = this.turns(self);
      for (const [member, { due: time, by }] of this.leaving) {
        if (time <= now && time + turnOf(by) * TAKE_OVER_MS <= now) {
          due.push(member);
        }
      }
    }
    return due;
  }

  /** The members that are about to leave, and that a process is the first to announce. */
  *leavingFor(self: string): IterableIterator<LeavingEntry> {
    const turnOf = this.turns(self);
    for (const [{ place, id, info }, { due, by }] of this.leaving) {
      if (turnOf(by) === 0) {
        yield [place.hub, place.topic, id, info, by, Math.max(0, due - performance.now())];
      }
    }
  }

  /** Returns after how many others a process announces a member: first the one that had it last, and then the others by their ids. */
  private turns(self: string): (by: string) => number {
    const rank = this.processes.sort().indexOf(self);
    return (by) => (by === self ? 0 : rank + (this.peers.has(by) && by > self ? 1 : 0));
  }

  private add(from: string, peer: Peer, entry: MemberEntry): void {
    const known = this.find(entry);
    const member = this.knownOrNew(entry);
    this.own(member, peer);
    const [, , , info] = entry;
    if (!known || known.info !== info) {
      member.info = info;
      this.listener.onChange('joined', member, from);
    }
  }

  /** A sheet changes nothing for processes that have received all messages. */
  private applySheet(from: string, peer: Peer, sheet: MemberSheet): void {
    const { start, members = [], end, leaving = [], last } = sheet;
    peer.sheets += start ? 1 : 0;
    for (const entry of members) {
      this.own(this.knownOrNew(entry), peer);
    }
    if (end && peer.sheets > 0) {
      for (const [member, number] of peer.members) {
        if (number < peer.sheets && peer.members.delete(member) && --member.owners === 0) {
          this.forget(member);
        }
      }
    }
    for (const [hub, topic, id, info, by, ms] of leaving) {
      const member = this.knownOrNew([hub, topic, id, info]);
      if (member.owners === 0 && !this.leaving.has(member)) {
        this.leaving.set(member, { due: performance.now() + ms, by });
      }
    }
    if (last && peer.sheets > 0) {
      this.listener.onComplete(from);
    }
  }

  private knownOrNew(entry: MemberEntry): Member {
    const [, , id, info] = entry;
    const place = this.placeOf(entry);
    const member = place.members.get(id) ?? { place, id, info, owners: 0 };
    place.members.set(id, member);
    return member;
  }

  private forget({ place, id }: Member): void {
    place.members.delete(id);
    if (place.members.size === 0) {
      this.hubs.get(place.hub)?.delete(place.topic);
    }
  }

  private own(member: Member, peer: Peer): void {
    if (!peer.members.has(member)) {
      member.owners++;
      this.leaving.delete(member);
    }
    peer.members.set(member, peer.sheets);
  }

  private release(member: Member | undefined, peer: Peer, by: string): void {
    if (member && peer.members.delete(member) && --member.owners === 0) {
      this.leaving.set(member, { due: performance.now() + this.graceMs(), by });
    }
  }

  /** Ends a member that no process has any more. */
  private end(member: Member | undefined, by: string): void {
    if (!member || !this.leaving.delete(member)) {
      return;
    }
    this.forget(member);
    this.listener.onChange('left', member, by);
  }

  private remove(process: string, released: (member: Member) => void): void {
    const peer = this.peers.get(process);
    this.peers.delete(process);
    this.departed.add(process);
    for (const oldest of this.departed) {
      if (this.departed.size <= REMEMBERED) {
        break;
      }
      this.departed.delete(oldest);
    }
    for (const member of peer?.members.keys() ?? []) {
      this.release(member, peer as Peer, process);
      released(member);
    }
    this.listener.onComplete(process);
  }

  private find([hub, topic, id]: MemberKey | MemberEntry): Member | undefined {
    return this.hubs.get(hub)?.get(topic)?.members.get(id);
  }

  private placeOf([hub, topic]: MemberEntry): Place {
    const topics = this.hubs.get(hub) ?? new Map<string, Place>();
    this.hubs.set(hub, topics);
    const place = topics.get(topic) ?? { hub, topic, members: new Map() };
    topics.set(topic, place);
    return place;
  }
}
