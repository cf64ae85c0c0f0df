import { connect } from './client/index.js';
import { clock, Panel } from './panel.js';

const AGAIN_MS = 3_000;

/** What a hub reports if it cannot resume where the page was. @param {string} done what was done to what it sends */
const RESETS = {
  epoch: (done) => `The server was restarted: what was ${done} meanwhile, or kept before, is not known here.`,
  evicted: (done) => `Away for too long: some of what was ${done} meanwhile is not kept any more.`,
};
const UNKNOWN = () => 'The server does not know where this page was: it goes on with all there is.';

/** Why a stream waits for its next connection. Without an error, the server has ended it. */
export function reasonOf(error) {
  if (error?.code === 'network') {
    return 'Connection lost';
  }
  if (error?.code === 'response') {
    return `The server refused the stream with ${error.status}`;
  }
  return error?.message ?? 'The server ended the stream';
}

/**
 * Shows a stream without an end. A panel has a `path`, `words` for what it receives, and `received(item)`. It may have `options`, `opened()`, and the
 * `id` of the last item that it has received. The client connects again by itself, also when the tab was hidden.
 */
export class StreamPanel extends Panel {
  async start() {
    this.on = true;
    this.lost = false;
    this.say('waiting', 'Connecting…');
    await this.read();
  }

  stop(why = 'Stopped by you') {
    clearTimeout(this.timer);
    this.stream.close();
    this.on = false;
    this.say('idle', why);
  }

  async read() {
    const resume = {
      get: () => this.id,
      set: (_, id) => {
        this.id = id;
      },
    };
    // Browsers limit the HTTP/1.1 connections to a server to six, but not WebSockets.
    const stream = connect(this.path, { as: 'ws', hidden: 'pause', resume, ...this.options });
    this.stream = stream;
    stream.on('state', (state, error) => this.changed(state, error));
    stream.on('reset', (reset) => this.reset(reset));
    stream.on('lagged', (lagged) => this.tell(laggedText(lagged, this.words)));
    const reason = await this.receive(stream);
    // Somebody may have stopped it.
    if (this.running && this.stream === stream) {
      this.wait(`${reason}, ${clock()}. Trying again in 3 s…`);
      this.timer = setTimeout(() => this.read(), AGAIN_MS);
    }
  }

  /** Resolves to why it is over. */
  async receive(stream) {
    try {
      for await (const item of stream) {
        this.received(item);
      }
    } catch (error) {
      return reasonOf(error);
    }
    return reasonOf();
  }

  changed(state, error) {
    if (state === 'open') {
      this.live = this.lost ? `Live again since ${clock()}` : 'Live';
      this.say('live', this.lost ? `${this.live}, after the connection was lost` : this.live);
      this.opened?.();
    } else if (state === 'waiting' && document.hidden) {
      this.say('idle', 'Paused while the tab is hidden');
    } else if (state === 'waiting') {
      this.wait(`${reasonOf(error)}, ${clock()}. Reconnecting…`);
    }
  }

  wait(text) {
    this.lost = true;
    this.say('waiting', text);
  }

  reset({ reason }) {
    // A stream without ids begins again: there is nothing to explain.
    if (reason !== 'no-id') {
      this.tell((RESETS[reason] ?? UNKNOWN)(this.words.done));
    }
  }

  /** Says what else there is to know of a stream that goes on. */
  tell(text) {
    this.say('live', `${this.live}. ${text}`);
  }
}

function laggedText({ dropped }, { one, several }) {
  const what = dropped === 1 ? `1 ${one} was` : `${dropped} ${several} were`;
  return `${what} left out: the page was too slow.`;
}
