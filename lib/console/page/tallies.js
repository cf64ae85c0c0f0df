import { drawing } from './chart.js';
import { count, part } from './text.js';

const TITLES = { route: 'By route', protocol: 'By protocol', format: 'By format', reason: 'Ended, by reason' };
/** The kind that does not filter, because its streams are over. */
const OVER = 'reason';

/** The numbers of connections of each kind. A click on a kind filters for it. */
export class Tallies {
  constructor(container, filterFor) {
    this.filterFor = filterFor;
    this.lists = Object.entries(TITLES).map(([kind, title]) => {
      const section = part(container, 'section', 'tally');
      part(section, 'h3', '', title);
      return { kind, list: part(section, 'ul'), shown: '' };
    });
  }

  show({ by }) {
    for (const each of this.lists) {
      const tally = by[each.kind];
      const text = JSON.stringify(tally);
      if (text !== each.shown) {
        each.shown = text;
        this.fill(each, tally);
      }
    }
  }

  fill({ list, kind }, { named, others }) {
    // Changed in place, so that a button keeps the keyboard focus.
    list.querySelector('.rest')?.remove();
    while (list.children.length > named.length) {
      list.lastElementChild.remove();
    }
    const most = Math.max(1, ...named.map(([, number]) => number));
    named.forEach(([name, number], i) => {
      const item = list.children[i] ?? this.item(list, kind);
      const [label, share, total] = item.children;
      label.textContent = name;
      label.title = kind === OVER ? name : `Show only ${name}`;
      share.firstElementChild.setAttribute('width', (100 * number) / most);
      total.textContent = count(number);
    });
    const rest = named.length === 0 ? 'none yet' : others > 0 ? `and ${count(others)} more` : '';
    if (rest !== '') {
      part(list, 'li', 'rest', rest);
    }
  }

  item(list, kind) {
    const item = part(list, 'li');
    if (kind === OVER) {
      part(item, 'span', 'name');
    } else {
      const button = part(item, 'button', 'link');
      button.type = 'button';
      button.addEventListener('click', () => this.filterFor(button.textContent));
    }
    const share = drawing(item, 'svg', {
      class: 'share',
      viewBox: '0 0 100 1',
      preserveAspectRatio: 'none',
      width: '100%',
      'aria-hidden': 'true',
    });
    drawing(share, 'rect', { height: 1, rx: 0 });
    part(item, 'span', 'count');
    return item;
  }
}
