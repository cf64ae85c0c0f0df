import { pause } from './panel.js';

const LOCK = 'nestjs-streaming: demo';
const PAUSE_MS = { chat: 6_000, export: 4_000, message: 3_500, away: 12_000, back: 9_000 };
const QUESTIONS = [
  'What is backpressure?',
  'How does a client resume after a lost connection?',
  'What happens when the client leaves?',
  'What does a hub do?',
  'Why are Server-Sent Events good for tokens?',
];
const SENSORS = ['kitchen', 'garden', 'cellar', 'office', 'attic'];
/** The number of messages that are written without anybody having touched the page. */
const MOST_MESSAGES = 100;
const OVER = 'Paused with the demo';

/**
 * Asks, exports and writes by itself, so that all panels are live. Whatever somebody uses is theirs from then on. Of several windows of a
 * browser, one has a demo.
 */
export class Demo {
  constructor({ chat, exporter, board }) {
    Object.assign(this, { chat, exporter, board });
  }

  start() {
    this.controller = new AbortController();
    const { signal } = this.controller;
    const { locks } = navigator;
    // Outside of localhost and HTTPS there are no locks.
    const running = locks ? locks.request(LOCK, { signal }, () => this.run(signal)) : this.run(signal);
    running.catch((error) => {
      if (!signal.aborted) {
        throw error;
      }
    });
  }

  stop() {
    this.controller?.abort();
  }

  run(signal) {
    signal.addEventListener('abort', () => {
      for (const panel of [this.chat, this.exporter].filter(({ touched }) => !touched)) {
        panel.stop(OVER);
      }
    });
    const [, reader] = this.board.readers;
    return Promise.all([
      this.ask(signal),
      this.export(signal),
      this.write(signal),
      this.leaveAndReturn(reader, signal),
    ]);
  }

  async ask(signal) {
    for (let i = 0; !signal.aborted && !this.chat.touched; i++) {
      await this.chat.demonstrate(QUESTIONS[i % QUESTIONS.length]);
      await pause(PAUSE_MS.chat, signal);
    }
  }

  async export(signal) {
    while (!signal.aborted && !this.exporter.touched) {
      await this.exporter.start();
      await pause(PAUSE_MS.export, signal);
    }
  }

  async write(signal) {
    for (let i = 0; !signal.aborted && i < MOST_MESSAGES; i++) {
      const place = SENSORS[i % SENSORS.length];
      const text = `${(19 + 4 * Math.random()).toFixed(1)} °C in the ${place}`;
      // The panels say that the server is gone.
      await this.board.post({ name: 'Thermometer', text }).catch(() => undefined);
      await pause(PAUSE_MS.message, signal);
    }
  }

  /** Shows how a client resumes. */
  async leaveAndReturn(reader, signal) {
    await pause(PAUSE_MS.away, signal);
    while (!signal.aborted && !reader.touched) {
      reader.stop('Away for a moment');
      await pause(PAUSE_MS.back, signal);
      if (!reader.touched) {
        void reader.start();
      }
      await pause(PAUSE_MS.away, signal);
    }
  }
}
