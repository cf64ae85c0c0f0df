import { createHash } from 'node:crypto';
import type { StreamEvent } from '../event/event.js';
import { isBinary, toBytes } from './binary.js';
import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';
import { type ChosenFormat, type ContentType, chooseFormat } from './negotiate.js';

const STYLE = `
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; padding: 0 1rem; max-width: 60rem; }
ol { padding: 0; list-style: none; }
li { padding: .4rem 0; border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
small { opacity: .7; }
.error { color: light-dark(#b00020, #ff8a80); }
`;

/** Allows only the style of the page: no script, image, form or frame, whatever the items contain. `sandbox` also gives the page an opaque origin. */
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  'sandbox',
].join('; ');

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);
}

function textOf(data: unknown): string {
  if (typeof data === 'string') {
    return data;
  }
  return isBinary(data) ? toBytes(data).toString('base64') : jsonText(data);
}

function row({ data, id, type }: StreamEvent): string {
  if (data === undefined) {
    return '';
  }
  const fields = [type, id].filter((each) => each !== undefined && each !== null && each !== '').map(String);
  const about = fields.length === 0 ? '' : `<small>${escaped(fields.join(' '))}</small>`;
  return `<li>${about}<pre>${escaped(textOf(data))}</pre></li>\n`;
}

/** An HTML page: each chunk is a row of a list, which the browser shows as soon as it arrives. */
const pageFormat: StreamFormat = {
  name: 'page',
  mediaTypes: ['text/html'],
  parameters: 'charset=utf-8',
  fields: true,
  encode: (event) => row(event as StreamEvent),
  open:
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">' +
    `<title>Stream</title><style>${STYLE}</style></head><body><ol>\n`,
  close: '</ol><p>The stream has ended.</p></body></html>\n',
  // White space between rows, or before the page, has no effect.
  heartbeat: '\n',
  lagged: (dropped) => `<li class="error">${dropped} items were dropped, because this page is too slow</li>\n`,
  error: ({ message }) => `<li class="error"><pre>${escaped(textOf(message))}</pre></li>\n`,
};

/** The format for a browser that navigates to a stream. */
export const PAGE_FORMAT: ChosenFormat = {
  ...chooseFormat(pageFormat),
  headers: { 'Content-Security-Policy': POLICY, 'Referrer-Policy': 'no-referrer' },
};

/** The media types that browsers save to a file instead of showing them. */
const DOWNLOADED = new Set([
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/stream+json',
  'application/json-seq',
  'text/event-stream',
]);

/** Returns a content type with which a browser shows a body of text instead of saving it. */
export function shownType(type: ContentType | undefined): ContentType | undefined {
  return type !== undefined && DOWNLOADED.has(type.value) ? { ...type, value: 'text/plain; charset=utf-8' } : type;
}
