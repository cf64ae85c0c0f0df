import { part, write } from './text.js';

/**
 * A table whose rows are written in place, so that a text that is selected stays so. A cell has a `text`, perhaps a `second` line, and a
 * `label` for narrow windows.
 */
export class Table {
  constructor(panel, cells) {
    this.cells = cells;
    this.body = panel.querySelector('tbody');
    this.scroll = panel.querySelector('.scroll');
    this.empty = panel.querySelector('.empty');
  }

  show(items) {
    this.empty.hidden = items.length > 0;
    this.scroll.hidden = items.length === 0;
    items.forEach((item, i) => {
      const row = this.body.children[i] ?? this.row();
      this.cells.forEach(({ text, second, mark, press }, cell) => {
        const td = row.children[cell];
        write(td.children[0], text(item));
        td.children[0].hidden = press !== undefined && text(item) === '';
        write(td.children[1], second?.(item) ?? '');
        td.dataset.mark = mark?.(item) ?? '';
      });
    });
    while (this.body.children.length > items.length) {
      this.body.lastElementChild.remove();
    }
  }

  row() {
    const row = part(this.body, 'tr');
    for (const { label, className, press } of this.cells) {
      const cell = part(row, 'td', className);
      if (label) {
        cell.dataset.label = label;
      }
      const first = part(cell, press ? 'button' : 'span', press ? 'link' : '');
      if (press) {
        first.type = 'button';
        first.addEventListener('click', () => press([...this.body.children].indexOf(row)));
      }
      part(cell, 'span', 'second');
    }
    return row;
  }
}
