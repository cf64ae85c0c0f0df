import { open, records, StreamFailure } from './body.js';
import { webSocketOrigin } from './curl.js';
import { EventsPanel, laggedText, resetText } from './events.js';
import { FollowingPanel } from './following.js';
import { Tally } from './tally.js';

const PATH = '/metrics';
const SUBPROTOCOL = 'events.v1+json';
const TYPES = ['machine', 'watching', 'sample'];
const WORDS = { done: 'measured', one: 'event', several: 'events' };
/** What a browser says of a WebSocket that ended without a word: RFC 6455, section 7.1.5. */
const WITHOUT_A_WORD = 1006;

const utf8 = new TextEncoder();
const size = (text) => utf8.encode(text).byteLength;

/** EventSource: the browser reconnects, and says where it was. One that is made anew says it in the address. */
export class EventSourceLane extends EventsPanel {
  words = WORDS;

  constructor(section, changed) {
    super(section);
    this.tally = new Tally(section, changed);
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
    if (type === 'sample') {
      this.tally.add(JSON.parse(data));
    }
  }
}

/** NDJSON has no place for an id: what comes again is told by what it says. */
export class NdjsonLane extends FollowingPanel {
  constructor(section, changed) {
    super(section);
    this.tally = new Tally(section, changed);
  }

  async follow(signal, again) {
    const response = await open(PATH, { headers: { Accept: 'application/x-ndjson' }, signal });
    this.connected(again);
    this.tally.opened();
    for await (const record of records(response, (chunk) => this.tally.weigh(chunk.byteLength))) {
      if (record.lagged) {
        this.note(laggedText(record.lagged, WORDS));
      } else if (record.n !== undefined) {
        this.tally.add(record);
      }
    }
  }
}

/** A plain WebSocket. A page that comes back offers the last id it has received as a subprotocol. */
export class WebSocketLane extends FollowingPanel {
  constructor(section, changed) {
    super(section);
    this.tally = new Tally(section, changed);
  }

  async follow(signal, again) {
    const last = `last-event-id.${encodeURIComponent(this.tally.id)}`;
    const socket = new WebSocket(`${webSocketOrigin()}${PATH}`, [SUBPROTOCOL, last]);
    signal.addEventListener('abort', () => socket.close());
    return new Promise((resolve, reject) => {
      let failure = 'no WebSocket could be opened';
      socket.addEventListener('open', () => {
        failure = 'the connection broke';
        this.connected(again);
        this.tally.opened();
      });
      socket.addEventListener('message', ({ data }) => this.received(data));
      socket.addEventListener('close', ({ code, reason }) => {
        if (code === WITHOUT_A_WORD) {
          reject(new StreamFailure(failure));
        } else {
          resolve(`The server closed the connection (${[code, reason].filter(Boolean).join(', ')})`);
        }
      });
    });
  }

  received(message) {
    const { id, type, data } = JSON.parse(message);
    this.tally.weigh(size(message));
    this.tally.reached(id);
    if (type === 'sample') {
      this.tally.add(data);
    } else if (type === 'reset') {
      this.note(resetText(data, WORDS));
    } else if (type === 'lagged') {
      this.note(laggedText(data, WORDS));
    }
  }
}
