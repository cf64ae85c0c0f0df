import { once } from 'node:events';
import { createServer } from 'node:net';
import { message } from './message.mjs';

/** The maximum number of turns in transit. More turns would wait in the memory of the kernel, and not show the speed of the server. */
const WINDOW = 8;
/** How often to check whether a turn was passed on before waiting for some time. */
const POLLS = 200;

const immediate = () => new Promise((resolve) => setImmediate(resolve));
const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @typedef {object} Broadcaster
 * @property {import('node:net').Server} [server] where it listens
 * @property {number} [port] where it listens, if that is not this process
 * @property {(message: { at: number, text: string }) => unknown} publish
 * @property {() => Promise<unknown>} [handedOver] resolves when the messages were passed to all sockets
 * @property {() => { cpu: number }} [cpu] of another process
 * @property {() => { heap: number, rss: number }} [memory] of another process
 */

/** Publishes turn after turn, in the same way for all contestants. */
export class Publisher {
  /** The last client: when it has been written to, all have. @type {import('node:net').Socket | undefined} */
  #last;
  #connections = 0;
  #acknowledged = 0;
  #wake = () => undefined;
  #acks = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', ({ length }) => {
      this.#acknowledged += length;
      this.#wake();
    });
  });
  #to;

  /** @param {Broadcaster} to */
  constructor(to) {
    this.#to = to;
    to.server?.on('connection', (/** @type {import('node:net').Socket} */ socket) => {
      this.#last = socket;
      this.#connections++;
      socket.once('close', () => {
        this.#connections--;
      });
    });
  }

  /** The port on which clients acknowledge turns. */
  async listen() {
    this.#acks.listen(0, '127.0.0.1');
    await once(this.#acks, 'listening');
    const address = /** @type {import('node:net').AddressInfo} */ (this.#acks.address());
    return address.port;
  }

  /** Resolves when all clients have disconnected. */
  async left() {
    while (this.#connections > 0) {
      await later(10);
    }
  }

  /**
   * Publishes a number of messages in one turn of the event loop, repeatedly at an interval.
   * @param {{ perTurn: number, interval: number, ms: number }} how
   */
  async paced({ perTurn, interval, ms }) {
    const began = performance.now();
    let turns = 0;
    while (turns * interval < ms) {
      this.#turn(perTurn);
      turns++;
      await later(Math.max(0, began + turns * interval - performance.now()));
    }
    return turns * perTurn;
  }

  /**
   * Publishes the next turn when the one before was passed to all sockets, and the clients are fast enough.
   * @param {{ perTurn: number, ms: number }} how
   */
  async saturated({ perTurn, ms }) {
    const end = performance.now() + ms;
    let turns = 0;
    this.#acknowledged = 0;
    do {
      const before = this.#last?.bytesWritten ?? 0;
      this.#turn(perTurn);
      turns++;
      await (this.#to.handedOver?.() ?? this.#handedOver(before));
      while (turns - this.#acknowledged >= WINDOW && performance.now() < end) {
        await this.#acknowledgement();
      }
    } while (performance.now() < end);
    return turns * perTurn;
  }

  /** @param {number} perTurn */
  #turn(perTurn) {
    for (let i = 0; i < perTurn; i++) {
      this.#to.publish(message());
    }
  }

  /** @param {number} before the number of bytes that were written to the last client */
  async #handedOver(before) {
    for (let polls = 0; ; polls++) {
      await (polls < POLLS ? immediate() : later(1));
      if (!this.#last || this.#last.destroyed || this.#last.bytesWritten > before) {
        return;
      }
    }
  }

  /** There is also a timeout, because a disconnected client acknowledges nothing. */
  #acknowledgement() {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 500);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }
}
