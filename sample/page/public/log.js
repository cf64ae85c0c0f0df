import { open, records } from './body.js';
import { addAtEnd, bytes, clock, Panel, pause } from './panel.js';

const KEPT_ROWS = 200;
const LONGEST_WAIT_S = 8;

/** NDJSON by fetch(): nobody reconnects for us. */
export class LogPanel extends Panel {
  constructor(section) {
    super(section);
    this.rows = section.querySelector('tbody');
    this.scroll = section.querySelector('.scroll');
    section.querySelector('#log-request').addEventListener('click', () => this.request());
  }

  async request() {
    if (!this.running) {
      void this.start();
    }
    await fetch('/', { method: 'HEAD' });
  }

  async start() {
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.on = true;
    this.wait = 1;
    this.say('waiting', 'Connecting…');
    for (let again = false; !signal.aborted; again = true) {
      const outcome = await this.follow(signal, again).then(
        () => 'The server ended the stream',
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

  stop() {
    this.controller.abort();
    this.on = false;
    this.say('idle', 'Stopped by you');
  }

  /** Until it ends, which it never does by itself. */
  async follow(signal, again) {
    const response = await open('/log?last=20', { signal });
    this.say('live', again ? `Live again since ${clock()}, after the stream was lost` : 'Live');
    this.wait = 1;
    this.rows.replaceChildren();
    for await (const line of records(response)) {
      const row = line.lagged
        ? noteRow(`${line.lagged.dropped} lines were left out: the page was too slow`)
        : lineRow(line);
      addAtEnd(this.scroll, this.rows, row, KEPT_ROWS);
    }
  }
}

function cell(text, className = '') {
  const element = document.createElement('td');
  element.textContent = text;
  element.className = className;
  return element;
}

function lineRow({ at, method, path, status, bytes: count, ms, complete }) {
  const row = document.createElement('tr');
  const outcome = complete ? cell(status, status < 400 ? '' : 'refused') : cell(`${status} unfinished`, 'cut');
  const took = ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
  row.append(cell(clock(at)), cell(`${method} ${path}`), outcome, cell(bytes(count), 'number'), cell(took, 'number'));
  return row;
}

function noteRow(text) {
  const row = document.createElement('tr');
  row.className = 'note';
  const note = cell(text);
  note.colSpan = 5;
  row.append(note);
  return row;
}
