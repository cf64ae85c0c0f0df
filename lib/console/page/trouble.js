import { Table } from './table.js';
import { address, age, bytes, count, time, write } from './text.js';

/** The errors of streams, each kind once. */
export class Errors {
  constructor(panel) {
    this.table = new Table(panel, [
      { text: ({ name, message }) => `${name}: ${message}`, second: ({ route }) => route },
      { label: 'Times', className: 'number', text: (error) => count(error.count) },
      { label: 'Last', className: 'number', text: ({ at }) => time(at) },
    ]);
  }

  show({ errors }) {
    this.table.show(errors);
  }
}

/** The clients that do not keep up. A click on one shows its connection. */
export class SlowClients {
  slowest = [];

  constructor(panel, filterFor) {
    this.shown = panel.querySelector('.shown');
    this.table = new Table(panel, [
      {
        text: ({ route }) => route,
        second: ({ path, client }) => `${path} · ${address(client)}`,
        press: (i) => filterFor(`#${this.slowest[i].id}`),
      },
      { label: 'Waiting', className: 'number', text: ({ queue }) => bytes(queue) },
      { label: 'Took nothing for', className: 'number', text: ({ stalled }) => age(stalled) },
      { label: 'Dropped', className: 'number', text: ({ dropped }) => count(dropped) },
    ]);
  }

  show({ slow }) {
    this.slowest = slow.slowest;
    this.table.show(slow.slowest);
    const { length } = slow.slowest;
    write(this.shown, slow.count > length ? `The slowest ${length} of ${count(slow.count)}` : '');
  }
}
