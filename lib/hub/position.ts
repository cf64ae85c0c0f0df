import { createHash } from 'node:crypto';
import type { BrokerPosition } from '../broker/broker.js';
import type { HubResetReason } from '../event/hub-event.js';

// hub "." epoch "." offset; see idOf()
const ID = /^([\w-]{4})\.(\w{1,32})\.([0-9a-z]{1,11})$/;

/** Returns the first part of all ids of a hub. It identifies the hub without exposing its name. */
export function tagOf(hub: string): string {
  return createHash('sha256').update(hub).digest('base64url').slice(0, 4);
}

/** Returns a position as the id of an event. */
export function idOf(tag: string, { epoch, offset }: BrokerPosition): string {
  return `${tag}.${epoch}.${offset.toString(36)}`;
}

/** Returns the offset of an id in the current epoch of the log, or the reason why it has none. */
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
