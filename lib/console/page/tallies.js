import { drawing } from './chart.js';
import { count, part } from './text.js';

const TITLES = { route: 'By route', protocol: 'By protocol', format: 'By format' };

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

  show({ by, open }) {
    for (const each of this.lists) {
      const tally = by[each.kind];
      const text = JSON.stringify(tally);
      if (text !== each.shown) {
        each.shown = text;
        this.fill(each.list, tally, open);
      }
    }
  }

  fill(list, { named, others }, open) {
    // Changed in place, so that a button keeps the keyboard focus.
    list.querySelector('.rest')?.remove();
    while (list.children.length > named.length) {
      list.lastElementChild.remove();
    }
    named.forEach(([name, number], i) => {
      const item = list.children[i] ?? this.item(list);
      const [button, share, total] = item.children;
      button.textContent = name;
      button.title = `Show only ${name}`;
      share.firstElementChild.setAttribute('width', (100 * number) / Math.max(1, open));
      total.textContent = count(number);
    });
    if (others > 0) {
      part(list, 'li', 'rest', `and ${count(others)} more`);
    }
  }

  item(list) {
    const item = part(list, 'li');
    const button = part(item, 'button', 'link');
    button.type = 'button';
    button.addEventListener('click', () => this.filterFor(button.textContent));
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
