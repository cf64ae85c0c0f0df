import type { HubEvent } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import { offsetIn } from './delivery-audit.js';

/** Hears everything of a hub at once, and knows up to where that is. */
export class EagerReader {
  offset = 0;

  constructor(hub: Hub) {
    void this.listen(hub.subscribe({ queue: { items: Number.POSITIVE_INFINITY } }));
  }

  private async listen(events: AsyncIterable<HubEvent>): Promise<void> {
    for await (const { id } of events) {
      this.offset = offsetIn(id);
    }
  }
}
