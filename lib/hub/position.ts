import { createHash } from 'node:crypto';
import type { BrokerPosition } from '../broker/broker.js';
import type { HubResetReason } from '../event/hub-event.js';

// tag "." epoch "." offset; see idOf(). The tag of a hub has 4 characters, and that of a run of a route 22
const ID = /^([\w-]{4,22})\.(\w{1,32})\.([0-9a-z]{1,11})$/;

/** Returns the first part of all ids of a hub. It identifies the hub without exposing its name. */
export function tagOf(hub: string): string {
  return createHash('sha256').update(hub).digest('base64url').slice(0, 4);
}

/** Returns a position as the id of an event. */
export function idOf(tag: string, { epoch, offset }: BrokerPosition): string {
  return `${tag}.${epoch}.${offset.toString(36)}`;
}

/** Returns the position that an id names, or the reason why the hub does not know it. */
export function positionOf(id: string, tag: string): BrokerPosition | HubResetReason {
  const [, hub = '', epoch, digits = ''] = ID.exec(id) ?? [];
  const offset = Number.parseInt(digits, 36);
  if (epoch === undefined || !Number.isSafeInteger(offset) || hub.length !== tag.length) {
    return 'malformed';
  }
  return hub === tag ? { epoch, offset } : 'hub';
}
