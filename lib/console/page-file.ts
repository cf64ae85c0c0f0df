import { readFileSync } from 'node:fs';

/** Returns the text of a file of the page. The build replaces this module with one that contains the files, so that the console can be bundled. */
export const pageFile = (name: string): string =>
  readFileSync(new URL(`../../lib/console/page/${name}`, import.meta.url), 'utf8');
