import { Table } from './table.js';
import { count, rate } from './text.js';

const topicsOf = ({ topics, otherTopics }) => {
  const named = topics.map(([name, subscribers]) => `${name} ${count(subscribers)}`);
  const all = otherTopics > 0 ? [...named, `and ${count(otherTopics)} more`] : named;
  return all.join(' · ') || '–';
};

const HUB_CELLS = [
  { text: ({ name }) => name },
  { label: 'Subscribers', className: 'number', text: ({ subscribers }) => count(subscribers) },
  { label: 'Topics, each with its subscribers', className: 'topics', text: topicsOf },
  { label: 'Events per second', className: 'number', text: (hub) => rate(hub.rate) },
  { label: 'Events so far', className: 'number', text: ({ received }) => count(received) },
  { label: 'In the history', className: 'number', text: ({ kept }) => count(kept) },
];

/** The table of hubs. All hubs of an application exist from its start to its end. */
export class Hubs {
  constructor(panel) {
    this.table = new Table(panel, HUB_CELLS);
    this.more = panel.querySelector('.more');
  }

  show({ hubs, moreHubs }) {
    this.table.show(hubs);
    this.more.textContent = moreHubs > 0 ? `and ${count(moreHubs)} more` : '';
  }
}
