import { get } from 'node:http';
import { createParser } from 'eventsource-parser';
import { Ledger } from './ledger.mjs';
import { FLOOD, HUBS, TOPICS } from './plan.mjs';

/** The share of clients that also subscribe to the large events. */
const HEAVY = 0.03;
const STAY_MS = 20_000;
const STALL_MS = 25_000;
const AWAY_MS = 4_000;
/** Some clients are disconnected for longer than the history keeps events. */
const LONG_AWAY_MS = 40_000;

/**
 * @typedef {object} World
 * @property {number} port
 * @property {() => number} random
 * @property {import('./plan.mjs').Plan} plan
 * @property {Record<string, number>} counts
 * @property {(what: string) => void} fault
 * @property {boolean} calm clients no longer disconnect or stop reading
 */

/** A client that connects, stops reading and disconnects at random. */
export class Client {
  #world;
  #hub;
  #topics;
  #ledger;
  /** @type {import('node:http').ClientRequest | undefined} */
  #request;
  /** @type {import('node:http').IncomingMessage | undefined} */
  #response;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #parser = createParser({ onEvent: ({ id, event = 'message', data }) => this.#ledger.add({ id, type: event, data }) });
  /** Disconnects by itself. */
  #leaving = false;
  #over = false;

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
    this.#renew();
    this.#later(STAY_MS / 4, () => this.#connect());
  }

  /** Reconnects, continues to read, and stays connected. */
  calm() {
    clearTimeout(this.#timer);
    if (this.#request === undefined) {
      this.#connect();
    } else {
      this.#response?.resume();
    }
  }

  /** Whether it has received all events. */
  isAt(/** @type {Record<string, number>} */ published) {
    const last = published[this.#hub];
    return (
      this.#response !== undefined &&
      this.#world.plan.countOf(this.#topics, this.#ledger.at, last + 1) === this.#ledger.announced
    );
  }

  /** @param {Record<string, number>} published */
  finish(published) {
    this.#check(() => this.#ledger.finish(published[this.#hub]));
    this.#over = true;
    clearTimeout(this.#timer);
    this.#leave();
  }

  /** Becomes a new client, which has no id. */
  #renew() {
    const { random, plan, counts } = this.#world;
    this.#hub = HUBS[Math.floor(random() * HUBS.length)];
    const count = 1 + Math.floor(random() * 3);
    this.#topics = new Set(Array.from({ length: count }, () => TOPICS[Math.floor(random() * (TOPICS.length - 1))]));
    if (random() < HEAVY) {
      this.#topics.add(FLOOD);
    }
    this.#ledger = new Ledger(plan, this.#hub, this.#topics, /** @type {any} */ (counts));
  }

  #connect() {
    const { port } = this.#world;
    const { id } = this.#ledger;
    const path = `/listen?hub=${this.#hub}&topics=${[...this.#topics].join(',')}`;
    const headers = { accept: 'text/event-stream', ...(id === undefined ? {} : { 'last-event-id': id }) };
    this.#parser.reset();
    this.#check(() => this.#ledger.connected());
    this.#world.counts.connections++;
    const request = get({ port, host: '127.0.0.1', path, headers, agent: false }, (response) => {
      this.#response = response;
      if (response.statusCode !== 200) {
        this.#world.fault(`status ${response.statusCode}`);
      }
      response
        .setEncoding('utf8')
        .on('data', (text) => this.#request === request && this.#check(() => this.#parser.feed(text)));
      response.on('error', () => request.destroy());
    });
    this.#request = request;
    request.on('error', () => undefined).on('close', () => this.#closed(request));
    this.#act();
  }

  #leave() {
    this.#leaving = true;
    this.#request?.destroy();
  }

  /** Chooses what the client does after a while. */
  #act() {
    const { random, counts } = this.#world;
    if (this.#world.calm) {
      return;
    }
    this.#later(STAY_MS, () => {
      if (random() < (this.#topics.has(FLOOD) ? 0.7 : 0.3)) {
        counts.stalls++;
        this.#response?.pause();
        this.#later(STALL_MS, () => {
          this.#response?.resume();
          this.#act();
        });
      } else {
        counts.left++;
        this.#leave();
      }
    });
  }

  /** It has disconnected, or was cut off. @param {import('node:http').ClientRequest} request */
  #closed(request) {
    if (this.#request !== request) {
      return;
    }
    const { random, counts, calm } = this.#world;
    counts.cut += this.#leaving ? 0 : 1;
    this.#leaving = false;
    this.#request = undefined;
    this.#response = undefined;
    if (this.#over) {
      return;
    }
    if (random() < 0.2 && !calm) {
      this.#renew();
    }
    this.#later(calm ? 100 : random() < 0.1 ? LONG_AWAY_MS : AWAY_MS, () => this.#connect());
  }

  /** @param {() => void} run */
  #check(run) {
    try {
      run();
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      this.#world.fault(`${this.#hub}, ${[...this.#topics].join(' ')}: ${message}`);
      this.#leave();
      this.#request = undefined;
      this.#response = undefined;
      this.#renew();
      this.#later(AWAY_MS, () => this.#connect());
    }
  }

  /** @param {number} longest @param {() => void} run */
  #later(longest, run) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, this.#world.random() * longest);
  }
}
