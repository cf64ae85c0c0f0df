import { Table } from './table.js';
import { bytes, count, duration, time } from './text.js';

/** How long a second press of a button confirms the first one, in milliseconds. */
const SURE_RUN_MS = 4_000;
/** How a status looks. Others are neither good nor bad. */
const STATUS_MARKS = { failed: 'bad', lost: 'bad', stopped: 'late' };

const ownerOf = ({ id, owner }) => [id, owner].filter((each) => each !== '').join(' · ');
const overOf = ({ reason, endedAt }) =>
  [reason, endedAt === null ? '' : time(endedAt)].filter((each) => each !== '').join(', ');

/** The table of runs: those in progress first, and then those that have ended. */
export class Runs {
  runs = [];

  /** @param {(key: string, name: string) => Promise<void>} stop stops a run */
  constructor(panel, stop) {
    this.stop = stop;
    this.more = panel.querySelector('.more');
    this.table = new Table(panel, [
      { text: ({ name }) => name, second: ownerOf },
      {
        label: 'Status',
        text: ({ status }) => status,
        second: overOf,
        mark: ({ status }) => STATUS_MARKS[status] ?? '',
      },
      { label: 'Lasts', className: 'number', text: (run) => duration(run.duration) },
      { label: 'Items', className: 'number', text: ({ items }) => count(items) },
      { label: 'Size', className: 'number', text: (run) => bytes(run.bytes) },
      { label: 'Viewers', className: 'number', text: ({ viewers }) => count(viewers) },
      { label: 'Process', text: ({ node }) => node },
      { className: 'action', text: (run) => this.action(run), press: (index) => this.press(this.runs[index]) },
    ]);
  }

  show({ runs, moreRuns }) {
    this.runs = runs;
    this.more.textContent = moreRuns > 0 ? `and ${count(moreRuns)} more` : '';
    this.table.show(runs);
  }

  action({ key, status }) {
    return status !== 'running' ? '' : key === this.sure ? 'Really?' : 'Stop';
  }

  /** The button has to be pressed twice. The first press belongs to the run, and not to the row, in which another run may be shown by then. */
  press({ key, name }) {
    clearTimeout(this.timer);
    if (this.sure === key) {
      this.sure = undefined;
      this.stop(key, name);
    } else {
      this.sure = key;
      this.timer = setTimeout(() => {
        this.sure = undefined;
        this.table.show(this.runs);
      }, SURE_RUN_MS);
    }
    this.table.show(this.runs);
  }
}
