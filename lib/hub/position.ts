import { createHash } from 'node:crypto';
import type { BrokerPosition } from '../broker/broker.js';
import type { HubResetReason } from '../event/hub-event.js';

// hub "." epoch "." offset; see idOf()
const ID = /^([\w-]{4})\.(\w{1,32})\.([0-9a-z]{1,11})$/;

/** Tells the ids of one hub from those of others, without its name in them. */
export function tagOf(hub: string): string {
  return createHash('sha256').update(hub).digest('base64url').slice(0, 4);
}

/** A position as the id of an event. */
export function idOf(tag: string, { epoch, offset }: BrokerPosition): string {
  return `${tag}.${epoch}.${offset.toString(36)}`;
}

/** The offset an id names in the log as it is now, or why it names none. */
export function offsetOf(id: string, tag: string, epoch: string): number | HubResetReason {
  const [, hub, life, offset] = ID.exec(id) ?? [];
  if (offset === undefined || !Number.isSafeInteger(Number.parseInt(offset, 36))) {
    return 'malformed';
  }
  if (hub !== tag) {
    return 'hub';
  }
  return life === epoch ? Number.parseInt(offset, 36) : 'epoch';
}
