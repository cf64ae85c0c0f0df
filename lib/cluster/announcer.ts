import type { MemberChanges } from '../hub/members.js';
import { decodedMember } from '../hub/members.js';
import { StreamError } from '../util/errors.js';
import type { Member } from './member-state.js';

/** The maximum number of members in one event. */
const MEMBERS_OF_EVENT = 100;
/** The number of events that are published at the same time. */
const AT_ONCE = 64;
/** The time before changes are published again that could not be published, in milliseconds. */
const RETRY_MS = 1_000;

type Place = Member['place'];

/** Publishes changes of a topic of a hub. */
export type Announce = (hub: string, topic: string, changes: MemberChanges) => Promise<void>;

/** Members by id: whether they have joined or left, and their info. */
type Changes = Map<string, { readonly change: 'joined' | 'left'; readonly info: string }>;

/** Publishes which members have come and gone: for each topic, one event with all changes of a turn. */
export class Announcer {
  private changed = new Map<Place, Changes>();
  private running: Promise<void> | undefined;
  private stopped = false;

  constructor(
    private readonly announce: Announce,
    private readonly warn: (error: unknown) => void,
  ) {}

  add(change: 'joined' | 'left', { place, id, info }: Member): void {
    const changes = this.changed.get(place) ?? new Map();
    this.changed.set(place, changes);
    // The newest change of a member is the one that counts.
    changes.delete(id);
    changes.set(id, { change, info });
    this.running ??= this.run();
  }

  /** Publishes what is left, and no more after that. */
  async close(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private async run(): Promise<void> {
    await undefined;
    while (this.changed.size > 0) {
      const places = [...this.changed];
      this.changed = new Map();
      let failed = false;
      for (let at = 0; at < places.length; at += AT_ONCE) {
        const some = places.slice(at, at + AT_ONCE);
        const published = await Promise.all(some.map(([place, changes]) => this.publish(place, changes)));
        failed ||= published.includes(false);
      }
      if (failed && !this.stopped) {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    }
    this.running = undefined;
  }

  /** Returns whether the changes are published. */
  private async publish(place: Place, changes: Changes): Promise<boolean> {
    const all = [...changes];
    for (let at = 0; at < all.length; at += MEMBERS_OF_EVENT) {
      try {
        await this.announce(place.hub, place.topic, eventOf(all.slice(at, at + MEMBERS_OF_EVENT)));
      } catch (error) {
        this.onFailure(place, all.slice(at), error);
        return false;
      }
    }
    return true;
  }

  /** Changes that could not be published are published later, unless there are newer ones. Clients may receive a change twice. */
  private onFailure(
    place: Place,
    changes: readonly [string, { change: 'joined' | 'left'; info: string }][],
    error: unknown,
  ): void {
    if (this.stopped || (error instanceof StreamError && error.code === 'hub-closed')) {
      return;
    }
    this.warn(error);
    const newer = this.changed.get(place);
    this.changed.set(place, new Map([...changes, ...(newer ?? [])]));
  }
}

function eventOf(changes: readonly [string, { change: 'joined' | 'left'; info: string }][]): MemberChanges {
  const of = (wanted: 'joined' | 'left') =>
    changes.filter(([, { change }]) => change === wanted).map(([id, { info }]) => decodedMember(id, info));
  return { joined: of('joined'), left: of('left') };
}
