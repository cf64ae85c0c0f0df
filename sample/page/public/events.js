import { clock, Panel } from './panel.js';

const REFUSED_RETRY_MS = 3_000;

/** What a hub says when it cannot go on where the page was. @param {string} done what was done to what it sends */
const RESETS = {
  epoch: (done) => `The server was restarted: what was ${done} meanwhile, or kept before, is not known here.`,
  evicted: (done) => `Away for too long: some of what was ${done} meanwhile is not kept any more.`,
};
const UNKNOWN = () => 'The server does not know where this page was: it goes on with all there is.';

/** What it means that a hub could not go on where the page was. */
export function resetText({ reason }, { done }) {
  return (RESETS[reason] ?? UNKNOWN)(done);
}

/** What it means that a hub had to leave something out. */
export function laggedText({ dropped }, { one, several }) {
  const what = dropped === 1 ? `1 ${one} was` : `${dropped} ${several} were`;
  return `${what} left out: the page was too slow.`;
}

/**
 * The browser's own EventSource: it reconnects by itself, and says where it was, unless the server refuses.
 * What a panel listens to has a `path`, `listen(events)`, and `words` for what it is sent.
 */
export class EventsPanel extends Panel {
  lost = 0;

  start() {
    this.on = true;
    this.say('waiting', this.lost === 0 ? 'Connecting…' : 'Reconnecting…');
    this.events = new EventSource(this.path);
    this.events.addEventListener('open', () => this.opened());
    this.events.addEventListener('error', (event) => this.failed(event));
    this.events.addEventListener('reset', (event) => this.reset(event));
    this.events.addEventListener('lagged', (event) => this.lagged(event));
    this.listen(this.events);
  }

  stop(why = 'Stopped by you') {
    clearTimeout(this.retry);
    this.events.close();
    this.lost = 0;
    this.on = false;
    this.say('idle', why);
  }

  opened() {
    this.live = this.lost === 0 ? 'Live' : `Live again since ${clock()}`;
    this.say('live', this.lost === 0 ? this.live : `${this.live}, after the connection was lost`);
  }

  /** The one name is for two things: an event the server sent has data, a lost connection has none. */
  failed({ data }) {
    if (data !== undefined) {
      this.say('failed', `Failed. The server reports: ${JSON.parse(data).message}`);
      return;
    }
    this.lost++;
    if (this.events.readyState === EventSource.CONNECTING) {
      this.say('waiting', `Connection lost, ${clock()}. The browser is reconnecting…`);
    } else {
      this.say('failed', `The server refused the stream, ${clock()}. Trying again in 3 s…`);
      this.retry = setTimeout(() => this.start(), REFUSED_RETRY_MS);
    }
  }

  reset({ data, lastEventId }) {
    this.note(resetText(JSON.parse(data), this.words), lastEventId);
  }

  lagged({ data, lastEventId }) {
    this.note(laggedText(JSON.parse(data), this.words), lastEventId);
  }
}
