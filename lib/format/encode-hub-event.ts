import type { HubEvent } from '../event/hub-event.js';
import type { Encoded, StreamFormat } from './format.js';

/**
 * Encodes an event of a hub. If the event is a notice of the hub that the format cannot express, the result is an empty string, which sends
 * nothing.
 */
export function encodeHubEvent(event: HubEvent, format: StreamFormat): Encoded {
  const { notice } = event;
  switch (notice?.type) {
    case 'reset':
      return format.fields ? format.encode(event) : (format.reset?.(notice.data) ?? '');
    case 'lagged':
      return format.lagged?.(notice.data.dropped, event.id) ?? '';
    default:
      return format.encode(format.fields ? event : event.data);
  }
}

/** Like {@link encodeHubEvent}, for a format without state per stream: all connections of the format share the result. */
export function encodeShared(event: HubEvent, format: StreamFormat): Encoded {
  return event.encoder?.encodeShared(format) ?? encodeHubEvent(event, format);
}
