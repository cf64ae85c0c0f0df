/**
 * Checks the events of one client one by one: each is the next event of its topics, or exactly the reported number of events is missing.
 *
 * An id ends in the number of its event, in base 36. Only this script may rely on that.
 */
export class Ledger {
  /** The id from which to resume. @type {string | undefined} */
  id;
  /** The number of the last event that was checked. */
  at = 0;
  /** The number of events that were reported as dropped, and whose gap was not found yet. */
  announced = 0;
  #plan;
  #hub;
  #topics;
  #counts;

  /**
   * @param {import('./plan.mjs').Plan} plan
   * @param {string} hub
   * @param {ReadonlySet<string>} topics
   * @param {Record<'events' | 'resets' | 'lagged' | 'dropped', number>} counts of all clients together
   */
  constructor(plan, hub, topics, counts) {
    this.#plan = plan;
    this.#hub = hub;
    this.#topics = topics;
    this.#counts = counts;
  }

  /** Begins a connection, after which the events that follow the id are expected. */
  connected() {
    if (this.id === undefined) {
      return;
    }
    const place = numberOf(this.id);
    const skipped = place > this.at ? this.#plan.countOf(this.#topics, this.at, place + 1) : 0;
    if (skipped > this.announced) {
      throw new Error(`comes back with an id that skips ${skipped} events, of which ${this.announced} were announced`);
    }
    this.announced = 0;
    this.at = place;
  }

  /** @param {{ id?: string, type: string, data: string }} event */
  add({ id, type, data }) {
    if (type === 'error') {
      throw new Error(`an error: ${data}`);
    }
    if (type === 'lagged') {
      this.#lagged(JSON.parse(data));
    } else if (type === 'reset') {
      this.#reset(id ?? '', JSON.parse(data));
    } else if (type === 'position') {
      this.#position(id ?? '');
    } else if (data !== '' && type !== 'shutdown') {
      this.#event(id ?? '', data);
    }
    this.id = id ?? this.id;
  }

  /** @param {number} last the number of the last event there was */
  finish(last) {
    const missing = this.#plan.countOf(this.#topics, this.at, last + 1);
    if (missing !== this.announced) {
      throw new Error(`at the end ${missing} events are missing, and ${this.announced} were announced`);
    }
  }

  /** @param {string} id @param {{ reason: string }} what */
  #reset(id, { reason }) {
    if (reason !== 'evicted' || numberOf(id) <= this.at) {
      throw new Error(`a reset at ${this.at} that is none: ${reason}, ${id}`);
    }
    this.at = numberOf(id);
    this.announced = 0;
    this.#counts.resets++;
  }

  /** @param {{ dropped: number }} what */
  #lagged({ dropped }) {
    if (this.#hub === 'disconnect' || !(dropped > 0)) {
      throw new Error(`a lagged of ${dropped} does not match`);
    }
    this.announced += dropped;
    this.#counts.lagged++;
    this.#counts.dropped += dropped;
  }

  /** Nothing for this client is before it. @param {string} id */
  #position(id) {
    if (this.id !== undefined && this.#plan.countOf(this.#topics, this.at, numberOf(id) + 1) !== this.announced) {
      throw new Error(`a position, ${id}, that skips events after ${this.at}`);
    }
    this.announced = 0;
    this.at = numberOf(id);
  }

  /** @param {string} id @param {string} data */
  #event(id, data) {
    const n = Number.parseInt(data.slice(data.indexOf(':') + 1), 10);
    if (n !== numberOf(id) || !this.#topics.has(this.#plan.topicOf(n))) {
      throw new Error(`event ${n} came as ${id}, to who does not listen to it`);
    }
    if (n <= this.at) {
      throw new Error(`event ${n} came after ${this.at}`);
    }
    const missing = this.#plan.countOf(this.#topics, this.at, n);
    // Replaced events may be missing anywhere among the others. All other missing events are at the reported gap.
    if (this.#hub === 'latest' ? missing > this.announced : missing !== this.announced) {
      throw new Error(`${missing} events are missing before ${n}, and ${this.announced} were announced`);
    }
    this.announced -= missing;
    this.at = n;
    this.#counts.events++;
  }
}

/** @param {string} id */
const numberOf = (id) => Number.parseInt(id.slice(id.lastIndexOf('.') + 1), 36);
