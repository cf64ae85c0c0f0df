import { StreamPanel } from './stream.js';

/** One more client of the hub of the board. It says whether it has the same messages. */
export class ReaderPanel extends StreamPanel {
  path = '/board';
  words = { done: 'written', one: 'message', several: 'messages' };
  /** The ids that it has received. */
  ids = new Set();
  /** The number of messages that it had to catch up on when it connected. */
  missed = 0;

  constructor(section, board) {
    super(section);
    this.board = board;
    this.count = section.querySelector('.count');
    this.touched = false;
    this.toggle.addEventListener('click', () => {
      this.touched = true;
    });
  }

  /** The messages of the board that it has not received, since the first one that it has. */
  get behind() {
    const messages = this.board.entries.filter(({ id }) => id);
    const first = messages.findIndex(({ id }) => this.ids.has(id));
    return first < 0 ? 0 : messages.slice(first).filter(({ id }) => !this.ids.has(id)).length;
  }

  opened() {
    this.missed = this.behind;
  }

  stop(why) {
    super.stop(why);
    this.compare();
  }

  received({ id }) {
    this.ids.add(id);
    this.compare();
  }

  compare() {
    const { behind, missed } = this;
    const whole = missed > 0 ? `caught up on ${missed}` : 'nothing missing';
    this.count.textContent = behind > 0 ? `${behind} behind` : whole;
    this.section.dataset.behind = String(behind > 0);
  }
}
