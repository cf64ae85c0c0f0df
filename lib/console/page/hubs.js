import { count, part, rate, write } from './text.js';

const CELLS = [
  { text: ({ name }) => name },
  { label: 'Subscribers', text: ({ subscribers }) => count(subscribers) },
  { label: 'Events per second', text: (hub) => rate(hub.rate) },
  { label: 'Events so far', text: ({ received }) => count(received) },
  { label: 'In the history', text: ({ kept }) => count(kept) },
];

/** The table of hubs. All hubs of an application exist from its start to its end. */
export class Hubs {
  constructor(panel) {
    this.body = panel.querySelector('tbody');
    this.scroll = panel.querySelector('.scroll');
    this.empty = panel.querySelector('.empty');
  }

  show({ hubs }) {
    this.empty.hidden = hubs.length > 0;
    this.scroll.hidden = hubs.length === 0;
    hubs.forEach((hub, i) => {
      const row = this.body.children[i] ?? this.row();
      CELLS.forEach(({ text }, cell) => {
        write(row.children[cell], text(hub));
      });
    });
    while (this.body.children.length > hubs.length) {
      this.body.lastElementChild.remove();
    }
  }

  row() {
    const row = part(this.body, 'tr');
    for (const { label } of CELLS) {
      const cell = part(row, 'td', label ? 'number' : '');
      if (label) {
        cell.dataset.label = label;
      }
    }
    return row;
  }
}
