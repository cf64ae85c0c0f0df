import { clock, Panel, pause } from './panel.js';

const LONGEST_WAIT_S = 8;

/**
 * A stream that has no end, where nobody reconnects for us: a body of fetch(), a WebSocket. What a panel follows has
 * `follow(signal, again)`, which calls `connected(again)`; it throws when the stream fails, and may say how it ended.
 */
export class FollowingPanel extends Panel {
  async start() {
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.on = true;
    this.wait = 1;
    this.say('waiting', 'Connecting…');
    for (let again = false; !signal.aborted; again = true) {
      const outcome = await this.follow(signal, again).then(
        (ended = 'The server ended the stream') => ended,
        (error) => `Failed: ${error.message}`,
      );
      if (signal.aborted) {
        return;
      }
      this.say('waiting', `${outcome}, ${clock()}. Reconnecting in ${this.wait} s…`);
      await pause(this.wait * 1_000, signal);
      this.wait = Math.min(LONGEST_WAIT_S, this.wait * 2);
    }
  }

  stop(why = 'Stopped by you') {
    this.controller.abort();
    this.on = false;
    this.say('idle', why);
  }

  connected(again) {
    this.live = again ? `Live again since ${clock()}, after the stream was lost` : 'Live';
    this.say('live', this.live);
    this.wait = 1;
  }
}
