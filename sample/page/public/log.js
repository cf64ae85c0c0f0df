import { open, records } from './body.js';
import { FollowingPanel } from './following.js';
import { addAtEnd, bytes, clock } from './panel.js';

const KEPT_ROWS = 200;

/** NDJSON by fetch(). */
export class LogPanel extends FollowingPanel {
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

  /** Until it ends, which it never does by itself. */
  async follow(signal, again) {
    const response = await open('/log?last=20', { signal });
    this.connected(again);
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
