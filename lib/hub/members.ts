import { jsonText } from '../format/json-text.js';
import { StreamError } from '../util/errors.js';
import type { SubscribeOptions } from './hub.options.js';
import { CONTROL } from './topic.js';

/** The place of members whose subscription has no topic. No topic is empty. */
export const NO_TOPIC = '';

/** The maximum length of the id of a member, in bytes. */
const MAX_ID_BYTES = 256;
/** The maximum length of the info of a member as JSON, in bytes. Every process that has members holds the info of all of them. */
const MAX_INFO_BYTES = 1_024;
/** The maximum number of topics of a subscription with a member. Every process that has members holds each of them. */
const MAX_TOPICS = 100;

/** The member of a subscription. `info` is JSON text, and empty if there is none. */
export interface EncodedMember {
  readonly id: string;
  readonly info: string;
}

/** A member, as `hub.members()` returns it. */
export type DecodedMember = NonNullable<SubscribeOptions['member']>;

/** The data of an event of the type `members`. That of a topic has the `topic` too. */
export interface MemberChanges {
  readonly joined: readonly DecodedMember[];
  readonly left: readonly DecodedMember[];
}

/** Knows the members in all processes that share a broker. */
export interface MemberDirectory {
  /** Called when a member of this process has come to a topic, has another `info` there, or has gone. */
  onChange(topic: string, id: string): void;
  /** Resolves to the members of a topic, or of all topics, in all processes: their info by their id. */
  list(topic: string | undefined): Promise<Map<string, string>>;
}

/** The part of a subscription that its membership depends on. */
interface Subscription {
  readonly topics: readonly string[] | undefined;
  readonly member?: EncodedMember | undefined;
}

interface Membership {
  /** The number of subscriptions of the member to the topic. */
  count: number;
  /** The info of the newest of them. */
  info: string;
}

/** The members of the subscriptions of one hub in this process. */
export class Members {
  /** Knows the members in the other processes. `undefined` if no other process can have any. */
  directory: MemberDirectory | undefined;
  private readonly topics = new Map<string, Map<string, Membership>>();

  add({ topics, member }: Subscription): void {
    if (!member) {
      return;
    }
    const { id, info } = member;
    for (const topic of topics ?? [NO_TOPIC]) {
      const members = this.topics.get(topic) ?? new Map<string, Membership>();
      this.topics.set(topic, members);
      const known = members.get(id);
      members.set(id, { count: (known?.count ?? 0) + 1, info });
      if (known?.info !== info) {
        this.directory?.onChange(topic, id);
      }
    }
  }

  delete({ topics, member }: Subscription): void {
    if (!member) {
      return;
    }
    for (const topic of topics ?? [NO_TOPIC]) {
      const members = this.topics.get(topic);
      const known = members?.get(member.id);
      if (members && known && --known.count === 0) {
        members.delete(member.id);
        if (members.size === 0) {
          this.topics.delete(topic);
        }
        this.directory?.onChange(topic, member.id);
      }
    }
  }

  /** Returns the info of a member of this process, or `undefined` if it is not there. */
  infoOf(topic: string, id: string): string | undefined {
    return this.topics.get(topic)?.get(id)?.info;
  }

  /** The topic and the id of each member of this process. */
  *[Symbol.iterator](): Iterator<readonly [topic: string, id: string]> {
    for (const [topic, members] of this.topics) {
      for (const id of members.keys()) {
        yield [topic, id];
      }
    }
  }

  /** Resolves to the members in all processes. Those of this process are always among them. */
  async list(topic: string | undefined): Promise<DecodedMember[]> {
    const all = (await this.directory?.list(topic)) ?? new Map<string, string>();
    for (const [, members] of topic === undefined ? this.topics : [[topic, this.topics.get(topic)] as const]) {
      for (const [id, { info }] of members ?? []) {
        // The broker may not know yet what has changed here.
        if (!all.has(id)) {
          all.set(id, info);
        }
      }
    }
    return [...all].map(([id, info]) => decodedMember(id, info));
  }
}

/** Returns a member as users receive it. */
export function decodedMember(id: string, info: string): DecodedMember {
  return info === '' ? { id } : { id, info: JSON.parse(info) as unknown };
}

/**
 * Returns a member as it is sent to other processes.
 * @throws {StreamError} `invalid-option` or `not-serializable`, whose status is 400: what a member says of itself often comes from a client
 */
export function encodedMember({ id, info }: DecodedMember, topics: readonly string[] | undefined): EncodedMember {
  if (typeof id !== 'string' || id === '' || Buffer.byteLength(id) > MAX_ID_BYTES || CONTROL.test(id)) {
    throw refused(`The "id" of a member must be a string of 1 to ${MAX_ID_BYTES} bytes without control characters`);
  }
  if (topics && topics.length > MAX_TOPICS) {
    throw refused(`A subscription with a "member" has at most ${MAX_TOPICS} topics, not ${topics.length}`);
  }
  const text = info === undefined ? '' : jsonText(info);
  if (Buffer.byteLength(text) > MAX_INFO_BYTES) {
    throw refused(
      `The "info" of a member must have at most ${MAX_INFO_BYTES} bytes as JSON: send its id, and load the rest`,
    );
  }
  return { id, info: text };
}

function refused(message: string): StreamError {
  return new StreamError('invalid-option', message, { statusCode: 400 });
}
