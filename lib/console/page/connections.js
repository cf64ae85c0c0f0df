import { address, age, bytes, count, part, place, write } from './text.js';

/** How long a second press of a button confirms the first one, in milliseconds. */
const SURE_MS = 4_000;
/** The queue of a client that reads has fewer bytes than this. */
const LATE_BYTES = 65_536;

/** The table of connections, filtered and ordered by the server. */
export class Connections {
  rows = new Map();

  /** @param {(id: string, row: object) => Promise<void>} close closes a connection */
  constructor(panel, close) {
    this.close = close;
    this.body = panel.querySelector('tbody');
    this.scroll = panel.querySelector('.scroll');
    this.empty = panel.querySelector('.empty');
    this.shown = panel.querySelector('.shown');
  }

  show({ rows, matching, open, own }) {
    const limited = rows.length < matching ? `The first ${rows.length} of ${count(matching)}` : count(matching);
    const of = matching === open ? ' open' : ` that match, of ${count(open)} open`;
    write(this.shown, `${limited}${of}, ${own} of them this console`);
    this.empty.hidden = rows.length > 0;
    this.scroll.hidden = rows.length === 0;
    const there = new Set(rows.map(({ id }) => id));
    for (const [id, { element }] of this.rows) {
      if (!there.has(id)) {
        element.remove();
        this.rows.delete(id);
      }
    }
    rows.forEach((row, i) => {
      const shown = this.rows.get(row.id) ?? this.add(row);
      this.fill(shown, row);
      // A row is only moved if its position has changed, since moving it loses the focus.
      if (this.body.children[i] !== shown.element) {
        this.body.insertBefore(shown.element, this.body.children[i] ?? null);
      }
    });
  }

  add({ id, route, own }) {
    const element = document.createElement('tr');
    const cell = (label, className = '') => {
      const td = part(element, 'td', className);
      if (label) {
        td.dataset.label = label;
      }
      return { first: part(td, 'span'), second: part(td, 'span', 'second'), td };
    };
    const name = cell();
    const badge = document.createElement('span');
    badge.className = 'badge';
    name.first.after(badge);
    const shown = {
      element,
      badge,
      name,
      client: cell('Client'),
      format: cell('Format'),
      age: cell('Age', 'number'),
      sent: cell('Sent', 'number'),
      queue: cell('Queue', 'number'),
      last: cell('Last event', 'last'),
    };
    const actions = part(element, 'td');
    if (!own) {
      this.button(actions, id, route);
    }
    this.rows.set(id, shown);
    return shown;
  }

  fill(shown, row) {
    write(shown.name.first, row.route);
    write(shown.badge, row.own ? 'this console' : row.state === 'open' ? '' : row.state);
    write(shown.name.second, place(row));
    write(shown.client.first, address(row.client));
    write(shown.client.second, product(row.agent));
    shown.client.td.title = row.agent;
    write(shown.format.first, row.format || 'not known yet');
    write(shown.format.second, row.protocol);
    write(shown.age.first, age(row.age));
    write(shown.sent.first, bytes(row.bytes));
    write(shown.queue.first, row.queue === 0 ? '0' : bytes(row.queue));
    shown.queue.td.classList.toggle('late', row.queue >= LATE_BYTES);
    write(shown.last.first, row.last || '–');
  }

  /** The button has to be pressed twice, so that no stream is closed by accident. */
  button(cell, id, route) {
    const button = part(cell, 'button', '', 'Close');
    button.type = 'button';
    button.setAttribute('aria-label', `Close ${route}, stream ${id}`);
    let timer;
    const calm = () => {
      clearTimeout(timer);
      button.classList.remove('sure');
      button.textContent = 'Close';
      button.setAttribute('aria-label', `Close ${route}, stream ${id}`);
    };
    button.addEventListener('click', async () => {
      if (!button.classList.contains('sure')) {
        button.classList.add('sure');
        button.textContent = 'Really?';
        button.setAttribute('aria-label', `Really close ${route}, stream ${id}?`);
        timer = setTimeout(calm, SURE_MS);
        return;
      }
      calm();
      button.disabled = true;
      button.disabled = await this.close(id, route);
    });
  }
}

/** Returns the last product of a user agent, which mostly identifies the client best. */
export function product(agent) {
  const known = /(Edg|OPR|Firefox|Chrome|HeadlessChrome|Safari)\/\d+/.exec(agent);
  return known ? known[0].replace('/', ' ') : agent.split(/[ (]/, 1)[0].replace('/', ' ');
}
