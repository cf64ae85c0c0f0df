import { Table } from './table.js';
import { count, duration, rate, time } from './text.js';

/** A broker that works is behind by less than this, in milliseconds. */
const LATE_MS = 1_000;

const topicsOf = ({ topics, otherTopics }) => {
  const named = topics.map(([name, subscribers]) => `${name} ${count(subscribers)}`);
  const all = otherTopics > 0 ? [...named, `and ${count(otherTopics)} more`] : named;
  return all.join(' · ') || '–';
};

/** The status of the broker, as the second line of the name. A broker in memory has none. */
const brokerOf = ({ broker }) => {
  if (!broker) {
    return '';
  }
  const behind = broker.behindMs > 0 ? `, ${duration(Math.round(broker.behindMs))} behind` : '';
  return broker.connected ? `connected${behind}` : `not connected since ${time(broker.since)}`;
};

const markOf = ({ broker }) =>
  !broker || (broker.connected && broker.behindMs < LATE_MS) ? '' : broker.connected ? 'late' : 'bad';

const everywhereOf = ({ everywhere }) => (everywhere === null ? '' : `${count(everywhere)} everywhere`);

const HUB_CELLS = [
  { text: ({ name }) => name, second: brokerOf, mark: markOf },
  {
    label: 'Subscribers',
    className: 'number',
    text: ({ subscribers }) => count(subscribers),
    second: everywhereOf,
  },
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
