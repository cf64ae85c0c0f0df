import { open } from './body.js';
import { addAtEnd, clock } from './panel.js';
import { ReaderPanel } from './reader.js';
import { StreamPanel } from './stream.js';

const KEPT = 100;
/** In the storage of the tab. */
const STORED = 'nestjs-streaming:board';

/**
 * Messages of everybody. What was shown, and the id of the last of it, outlast a reload of the page: it goes on after that. Other clients of
 * the same hub are compared with it.
 */
export class BoardPanel extends StreamPanel {
  path = '/board';
  words = { done: 'written', one: 'message', several: 'messages' };

  constructor(section) {
    super(section);
    this.scroll = section.querySelector('.scroll');
    this.rows = section.querySelector('.messages');
    this.form = section.querySelector('form');
    this.sent = section.querySelector('.sent');
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.recall();
    this.readers = [...section.querySelectorAll('.reader')].map((reader) => new ReaderPanel(reader, this));
    for (const reader of this.readers) {
      void reader.start();
    }
    void this.start();
  }

  get id() {
    return this.after;
  }

  /** Set after the message with this id was shown. */
  set id(id) {
    this.after = id;
    this.remember();
  }

  received({ id, data }) {
    // A server that does not know where we were sends all it has.
    if (!this.entries.some((entry) => entry.id === id)) {
      this.add({ id, ...data });
    }
  }

  tell(text) {
    this.add({ note: text });
  }

  add(entry) {
    this.entries = [...this.entries, entry].slice(-KEPT);
    this.show(entry);
    this.compare();
  }

  compare() {
    for (const reader of this.readers) {
      reader.compare();
    }
  }

  show(entry) {
    addAtEnd(this.scroll, this.rows, entry.note ? noteRow(entry.note) : messageRow(entry), KEPT);
  }

  post(message) {
    return open('/board', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(message),
    });
  }

  async submit() {
    const { name, text } = this.form.elements;
    const message = { name: name.value, text: text.value };
    this.sent.textContent = 'Sending…';
    try {
      await this.post(message);
      this.sent.textContent = '';
      // Unless more was written meanwhile.
      if (text.value === message.text) {
        text.value = '';
      }
      this.remember();
    } catch (error) {
      this.sent.textContent = `Not sent: ${error.message}`;
    }
  }

  recall() {
    let stored = {};
    try {
      stored = JSON.parse(sessionStorage.getItem(STORED)) ?? {};
    } catch {
      // Storage may be forbidden: then a reload begins anew.
    }
    const { after = '', entries = [], name = '' } = stored;
    Object.assign(this, { after, entries });
    this.form.elements.name.value = name;
    for (const entry of entries) {
      this.show(entry);
    }
  }

  /** Both in one: what is shown and where it ends belong together. */
  remember() {
    const { after, entries } = this;
    try {
      sessionStorage.setItem(STORED, JSON.stringify({ after, entries, name: this.form.elements.name.value }));
    } catch {
      // Forbidden, or full.
    }
  }
}

/** What people write is text, whatever it looks like. */
function part(parent, name, className, text) {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  parent.append(element);
}

function messageRow({ at, name, text }) {
  const row = document.createElement('li');
  part(row, 'time', 'when', clock(at));
  part(row, 'bdi', 'name', name);
  part(row, 'bdi', 'text', text);
  return row;
}

function noteRow(text) {
  const row = document.createElement('li');
  row.className = 'note';
  row.textContent = text;
  return row;
}
