import { addAtEnd, bytes, clock } from './panel.js';
import { StreamPanel } from './stream.js';

const KEPT_ROWS = 200;
const SWITCHING_PROTOCOLS = 101;

/** Lines that the server pushes. They have no ids: after a lost connection, the last ones are sent again. */
export class LogPanel extends StreamPanel {
  path = '/log?last=20';
  words = { one: 'line', several: 'lines' };

  constructor(section) {
    super(section);
    this.rows = section.querySelector('tbody');
    this.scroll = section.querySelector('.scroll');
    section.querySelector('#log-request').addEventListener('click', () => void fetch('/', { method: 'HEAD' }));
    void this.start();
  }

  opened() {
    this.rows.replaceChildren();
  }

  received({ data }) {
    this.add(lineRow(data));
  }

  tell(text) {
    this.add(noteRow(text));
  }

  add(row) {
    addAtEnd(this.scroll, this.rows, row, KEPT_ROWS);
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
  // Of a WebSocket, the response is not finished but upgraded.
  const whole = complete || status === SWITCHING_PROTOCOLS;
  const outcome = whole ? cell(status, status < 400 ? '' : 'refused') : cell(`${status} unfinished`, 'cut');
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
