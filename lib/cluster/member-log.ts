import type { Broker } from '../broker/broker.js';
import { MessageLog } from './message-log.js';

/** The log through which the processes that share a broker tell each other their members. */
const MEMBER_LOG = '~members';

/** A new process finds the others in the log, since each of them sends a message every `PACE.beatMs`. */
export const KEPT = { limit: 2_000, ttl: 15_000 };

/** A member of a topic of a hub. The topic is empty if the subscription has none. */
export type MemberKey = readonly [hub: string, topic: string, id: string];

/** A member of a topic of a hub, with its info as JSON text. */
export type MemberEntry = readonly [hub: string, topic: string, id: string, info: string];

/** A member that no process has any more, the process that had it last, and the time in milliseconds after which it leaves. */
export type LeavingEntry = readonly [...MemberEntry, by: string, ms: number];

/** A part of all that a process knows. */
export interface MemberSheet {
  /** It is the first part. */
  readonly start?: boolean;
  /** Members of the process, which the others may know already. */
  readonly members?: readonly MemberEntry[];
  /** The process has no other members. */
  readonly end?: boolean;
  /** Members that are about to leave. */
  readonly leaving?: readonly LeavingEntry[];
  /** It is the last part. */
  readonly last?: boolean;
}

/** What a process tells the others. They apply all parts of a message at once, in the order of the log. */
export interface MemberMessage {
  /** The process that has sent it. */
  readonly from: string;
  /** Increases with every message of a process. */
  readonly n: number;
  /**
   * - `hello`: the process has started, and asks the others for all their members
   * - `beat`: the process is there. It finds out by its own beats who is not
   * - `bye`: the process has closed
   */
  readonly do?: 'hello' | 'beat' | 'bye';
  /** The answer to `hello`. */
  readonly sheet?: MemberSheet;
  /** Members that have come to the process, or have new info. */
  readonly add?: readonly MemberEntry[];
  /** Members that have no subscription in the process any more. */
  readonly del?: readonly MemberKey[];
  /** Members that no process had for some time. */
  readonly left?: readonly MemberKey[];
  /** Processes that have not sent anything for too long. */
  readonly gone?: readonly string[];
}

export function openMemberLog(
  broker: Broker,
  warn: (message: string, error?: unknown) => void,
): Promise<MessageLog<MemberMessage>> {
  return MessageLog.open<MemberMessage>(MEMBER_LOG, KEPT, broker, warn);
}
