import { createHash } from 'node:crypto';
import { pageFile } from './page-file.js';

const STYLES = ['page.css', 'controls.css', 'tables.css'];
/** Each script comes after those that it imports. */
const SCRIPTS = [
  'client.js',
  'text.js',
  'chart.js',
  'table.js',
  'tallies.js',
  'hubs.js',
  'runs.js',
  'trouble.js',
  'connections.js',
  'ended.js',
  'main.js',
];

/** Joins the modules into one, which is possible as they declare no name twice. With a single response, the parts of the page always have the same version. */
function oneModule(): string {
  const whole = SCRIPTS.map(pageFile).join('\n');
  return whole.replace(/^import [^;]*;\n/gm, '').replace(/^export /gm, '');
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

const style = STYLES.map(pageFile).join('\n');
const script = oneModule();

/** The whole page. */
export const CONSOLE_PAGE = pageFile('index.html')
  .replace('<style></style>', () => `<style>${style}</style>`)
  .replace('<script type="module"></script>', () => `<script type="module">${script}</script>`);

/** Allows the page to run and load only its own parts (CSP Level 3), and keeps it out of caches, frames and referrers. */
export const CONSOLE_PAGE_HEADERS: Readonly<Record<string, string>> = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
};
