import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../support/documentation.js';

const GUIDE = join(ROOT, 'docs/client-faults.md');

/** Returns the lines of a table in Markdown. */
export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

/** The table below a heading of docs/client-faults.md. */
export class GuideTable {
  private readonly text = readFileSync(GUIDE, 'utf8');
  private readonly start: number;
  private readonly end: number;

  constructor(heading: string) {
    const at = this.text.indexOf(`\n## ${heading}\n`);
    const found = /^\|.*\n(?:\|.*\n)*/m.exec(this.text.slice(at));
    if (at < 0 || !found) {
      throw new Error(`docs/client-faults.md has no table below "${heading}"`);
    }
    this.start = at + found.index;
    this.end = this.start + found[0].length;
  }

  get content(): string {
    return this.text.slice(this.start, this.end);
  }

  replace(content: string): void {
    writeFileSync(GUIDE, this.text.slice(0, this.start) + content + this.text.slice(this.end));
  }
}

/** The installed version of a package. */
export function versionOf(name: string): string {
  return JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')).version;
}
