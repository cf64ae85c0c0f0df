import { open, records } from './body.js';
import { EventsPanel, laggedText, resetText } from './events.js';
import { FollowingPanel } from './following.js';
import { SocketPanel } from './socket.js';
import { Tally } from './tally.js';

// A lane passes all that it receives to a listener with the methods `machine`, `watching` and `sample`. The tally of the lane calls `changed` for
// every sample, and `label` for the name of its process.
const PATH = '/metrics';
const TYPES = ['machine', 'watching', 'sample'];
const WORDS = { done: 'measured', one: 'event', several: 'events' };

const utf8 = new TextEncoder();
const size = (text) => utf8.encode(text).byteLength;

/** EventSource: the browser reconnects, and says where it was. One that is made anew says it in the address. */
export class EventSourceLane extends EventsPanel {
  words = WORDS;

  constructor(section, listener) {
    super(section);
    this.tally = new Tally(section, listener);
    this.listener = listener;
  }

  get path() {
    const { id } = this.tally;
    return id ? `${PATH}?${new URLSearchParams({ after: id })}` : PATH;
  }

  listen(events) {
    events.addEventListener('open', () => this.tally.opened());
    for (const type of TYPES) {
      events.addEventListener(type, (event) => this.received(event));
    }
  }

  received({ type, data, lastEventId }) {
    this.tally.weigh(size(data));
    this.tally.reached(lastEventId);
    const value = JSON.parse(data);
    this.listener[type](value);
    if (type === 'sample') {
      this.tally.add(value);
    }
  }
}

/** NDJSON has no place for an id: what comes again is told by what it says. */
export class NdjsonLane extends FollowingPanel {
  constructor(section, listener) {
    super(section);
    this.tally = new Tally(section, listener);
    this.listener = listener;
  }

  async follow(signal, again) {
    const response = await open(PATH, { headers: { Accept: 'application/x-ndjson' }, signal });
    this.connected(again);
    this.tally.opened();
    for await (const record of records(response, (chunk) => this.tally.weigh(chunk.byteLength))) {
      if (record.lagged) {
        this.note(laggedText(record.lagged, WORDS));
      } else if (record.n !== undefined) {
        this.listener.sample(record);
        this.tally.add(record);
      }
    }
  }
}

/** A WebSocket. When it connects again, it offers the last id that it has received as a subprotocol. */
export class WebSocketLane extends SocketPanel {
  path = PATH;

  constructor(section, listener) {
    super(section);
    this.tally = new Tally(section, listener);
    this.listener = listener;
  }

  get id() {
    return this.tally.id;
  }

  opened() {
    this.tally.opened();
  }

  received({ id, type, data }, message) {
    this.tally.weigh(size(message));
    this.tally.reached(id);
    this.listener[type]?.(data);
    if (type === 'sample') {
      this.tally.add(data);
    } else if (type === 'reset') {
      this.note(resetText(data, WORDS));
    } else if (type === 'lagged') {
      this.note(laggedText(data, WORDS));
    }
  }
}
