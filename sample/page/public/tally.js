import { bytes, clock } from './panel.js';

const SHOWN = 3;
/** To compare with what the others brought: some more than the server sends a newcomer. */
const KEPT = 200;

/** What came over one protocol since the page was opened, whether it is switched on or off. */
export class Tally {
  count = 0;
  bytes = 0;
  /** Of the last event that had one. */
  id = '';
  /** The last samples, without a gap between them. */
  kept = [];
  /** The last sample of each process. */
  last = new Map();

  constructor(section, listener) {
    this.listener = listener;
    this.parts = Object.fromEntries(
      ['samples', 'id', 'bytes', 'went-on', 'newest'].map((name) => [name, section.querySelector(`.${name}`)]),
    );
  }

  /** The stream is open, for the first time or again. */
  opened() {
    this.resuming = this.last.size > 0;
    this.known = 0;
  }

  weigh(count) {
    this.bytes += count;
    this.parts.bytes.textContent = bytes(this.bytes);
  }

  reached(id) {
    this.id = id || this.id;
    this.parts.id.textContent = this.id || 'none';
  }

  add(sample) {
    const last = this.last.get(sample.process);
    if (last && sample.n <= last.n && sample.at <= last.at) {
      this.known++;
      return;
    }
    if (last) {
      this.join(last, sample);
    }
    this.count++;
    this.last.set(sample.process, sample);
    this.kept = [...this.kept, sample].slice(-KEPT);
    this.parts.samples.textContent = String(this.count);
    this.parts.newest.append(row(sample, this.listener.label(sample.process)));
    if (this.parts.newest.childElementCount > SHOWN) {
      this.parts.newest.firstElementChild.remove();
    }
    this.listener.changed();
  }

  /** Says how the stream went on. The samples of a process are numbered: whether one is missing can be seen. */
  join(last, { n }) {
    const missing = n - last.n - 1;
    if (missing !== 0) {
      this.kept = [];
    }
    if (this.resuming || missing !== 0) {
      this.parts['went-on'].textContent = `#${n} after #${last.n}, ${this.verdict(missing)}`;
      this.resuming = false;
    }
  }

  verdict(missing) {
    if (missing < 0) {
      return 'of a server that was restarted';
    }
    const left = this.known ? `, ${this.known} known ones left out` : '';
    return `${missing || 'nothing'} missing${left}`;
  }
}

function row({ n, at, cpu }, process) {
  const item = document.createElement('li');
  item.textContent = [`#${n}`, clock(at), `CPU ${cpu.machine.toFixed(1)} %`, process].filter(Boolean).join('  ');
  return item;
}
