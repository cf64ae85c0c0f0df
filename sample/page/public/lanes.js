import { StreamPanel } from './stream.js';
import { Tally } from './tally.js';

const utf8 = new TextEncoder();

/**
 * One stream over one protocol. A lane passes all that it receives to a listener with the methods `machine`, `watching` and `sample`. The tally of the lane
 * calls `changed` for every sample, and `label` for the name of its process.
 */
export class Lane extends StreamPanel {
  path = '/metrics';
  words = { done: 'measured', one: 'event', several: 'events' };

  constructor(section, as, listener) {
    super(section);
    this.tally = new Tally(section, listener);
    this.listener = listener;
    this.options = { as, ...weighed((count) => this.tally.weigh(count)) };
  }

  get id() {
    return this.tally.id;
  }

  set id(id) {
    this.tally.reached(id);
  }

  opened() {
    this.tally.opened();
  }

  /** NDJSON has no types. All that the page needs of it are the samples, which are numbered. */
  received({ type = 'sample', data }) {
    if (type !== 'sample') {
      this.listener[type](data);
    } else if (data.n !== undefined) {
      this.listener.sample(data);
      this.tally.add(data);
    }
  }
}

/** Options of a stream that weigh the bytes of bodies and messages. */
function weighed(weigh) {
  return {
    async fetch(url, init) {
      const response = await fetch(url, init);
      const weighing = new TransformStream({
        transform(chunk, controller) {
          weigh(chunk.byteLength);
          controller.enqueue(chunk);
        },
      });
      return new Response(response.body?.pipeThrough(weighing), response);
    },
    WebSocket: class extends WebSocket {
      constructor(...options) {
        super(...options);
        this.addEventListener('message', ({ data }) => weigh(utf8.encode(data).byteLength));
      }
    },
  };
}
