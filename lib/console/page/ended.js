import { product } from './connections.js';
import { Table } from './table.js';
import { address, bytes, count, duration, place, time, write } from './text.js';

const KEPT_STREAMS = 50;
/** How a close code looks. Others are neither good nor bad. */
const MARKS = { error: 'bad', 'slow-consumer': 'late', 'send-timeout': 'late', deadline: 'late' };

const ENDED_CELLS = [
  { text: ({ route }) => route, second: place },
  { label: 'Ended', text: ({ at }) => time(at) },
  {
    label: 'Why',
    className: 'why',
    text: ({ code }) => code,
    second: ({ error }) => error,
    mark: ({ code }) => MARKS[code] ?? '',
  },
  { label: 'Client', text: ({ client }) => address(client), second: ({ agent }) => product(agent) },
  { label: 'Format', text: ({ format }) => format || 'not known', second: ({ protocol }) => protocol },
  { label: 'Lasted', className: 'number', text: (stream) => duration(stream.duration) },
  { label: 'Items', className: 'number', text: ({ chunks }) => count(chunks) },
  { label: 'Sent', className: 'number', text: (stream) => bytes(stream.bytes) },
];

/** The streams that ended last, and why. */
export class Ended {
  streams = [];

  constructor(panel) {
    this.table = new Table(panel, ENDED_CELLS);
    this.shown = panel.querySelector('.shown');
  }

  /** A new feed sends all that it knows: of a server that was restarted, that may be other streams. */
  begin() {
    this.streams = [];
  }

  show({ ended }) {
    this.streams = [...ended.toReversed(), ...this.streams].slice(0, KEPT_STREAMS);
    const total = this.streams[0]?.n ?? 0;
    write(this.shown, total > KEPT_STREAMS ? `The last ${KEPT_STREAMS} of ${count(total)}` : '');
    this.table.show(this.streams);
  }
}
