import { defineFormat } from './define-format.js';
import { ALL_FORMATS, FORMATS, type StreamFormatName } from './formats.js';
import { byFirstChunk, chooseFormat, negotiateFormat } from './negotiate.js';

/** The content type for an `Accept`, where the route has no list of its own. */
function ofAll(accept: string | undefined): string | undefined {
  const chosen = negotiateFormat(accept, ALL_FORMATS, 'auto');
  return chosen === 'auto' ? 'auto' : chosen?.contentType?.value;
}

/** The content type for an `Accept`, where the route has a list. */
function ofList(accept: string | undefined, ...names: StreamFormatName[]): string | undefined {
  const formats = names.map((name) => FORMATS[name]);
  const [first = FORMATS.sse] = formats;
  const chosen = negotiateFormat(accept, formats, chooseFormat(first));
  return chosen === 'auto' ? 'auto' : chosen?.contentType?.value;
}

const CHROME_NAVIGATION =
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7';
const FIREFOX_NAVIGATION = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

describe('a route that offers all formats', () => {
  it.each([
    ['no Accept', undefined, 'auto'],
    ['an empty Accept', '', 'auto'],
    ['*/*', '*/*', 'auto'],
    ['*/* with a weight', '*/*;q=0.1', 'auto'],
    ['the address bar of Chrome', CHROME_NAVIGATION, 'auto'],
    ['the address bar of Firefox', FIREFOX_NAVIGATION, 'auto'],
    ['an EventSource', 'text/event-stream', 'text/event-stream'],
    ['axios', 'application/json, text/plain, */*', 'application/json'],
    ['jQuery', 'application/json, text/javascript, */*; q=0.01', 'application/json'],
    ['jsonl', 'application/jsonl', 'application/jsonl'],
    ['x-ndjson', 'application/x-ndjson', 'application/x-ndjson'],
    ['ndjson', 'application/ndjson', 'application/ndjson'],
    ['stream+json', 'application/stream+json', 'application/stream+json'],
    ['json-seq', 'application/json-seq', 'application/json-seq'],
    ['text/*', 'text/*', 'text/plain; charset=utf-8'],
    ['application/*', 'application/*', 'application/x-ndjson'],
    ['bytes', 'application/octet-stream', 'application/octet-stream'],
    ['another case', 'TEXT/Event-Stream', 'text/event-stream'],
    ['white space', ' text/event-stream ; q=1 , */* ; q=0.1', 'text/event-stream'],
    ['a parameter of the format', 'text/plain; charset=utf-8', 'text/plain; charset=utf-8'],
  ])('responds to %s, with the Accept %j, in %s', (_who, accept, contentType) => {
    expect(ofAll(accept)).toBe(contentType);
  });

  it.each([
    ['the heavier one', 'application/json;q=0.5, text/event-stream;q=0.8', 'text/event-stream'],
    ['the one named rather than a wildcard of the same weight', '*/*, text/event-stream', 'text/event-stream'],
    ['a wildcard that is heavier', 'text/event-stream;q=0.2, */*;q=0.8', 'auto'],
    ['the first named of equal weight', 'application/json, text/event-stream', 'application/json'],
    ['the remaining one if another is refused', 'text/event-stream;q=0, application/json', 'application/json'],
    ['a range without the refused type', 'text/plain;q=0, text/*', 'text/event-stream'],
  ])('chooses %s of %j', (_what, accept, contentType) => {
    expect(ofAll(accept)).toBe(contentType);
  });

  it.each([
    ['what is not there', 'image/png'],
    ['everything refused', '*/*;q=0'],
    ['the only one refused', 'text/event-stream;q=0'],
    ['a foreign range', 'image/*'],
  ])('has no acceptable format for %s: %j', (_what, accept) => {
    expect(ofAll(accept)).toBeUndefined();
  });
});

describe('a route with a list of formats', () => {
  it.each([
    ['the first by default', undefined, 'text/event-stream'],
    ['the first for */*', '*/*', 'text/event-stream'],
    ['the first for the address bar of Chrome', CHROME_NAVIGATION, 'text/event-stream'],
    ['another that is asked for', 'application/x-ndjson', 'application/x-ndjson'],
    ['one of the aliases', 'application/jsonl', 'application/jsonl'],
    ['another when the first is refused', 'text/event-stream;q=0, */*', 'application/x-ndjson'],
    ['another when the first is lighter', 'text/event-stream;q=0.1, */*;q=0.5', 'application/x-ndjson'],
    ['nothing when it has nothing', 'application/json', undefined],
  ])('selects %s (%j)', (_what, accept, contentType) => {
    expect(ofList(accept, 'sse', 'ndjson')).toBe(contentType);
  });

  it('selects user-defined formats by their media types', () => {
    const csv = defineFormat({ name: 'csv', mediaTypes: ['text/csv'], parameters: 'header=present', encode: String });

    expect(negotiateFormat('text/csv', [FORMATS.sse, csv], 'auto')).toEqual({
      format: csv,
      contentType: { value: 'text/csv; header=present', required: true },
    });
  });

  it('sends jsonl as application/jsonl by default', () => {
    expect(ofList('*/*', 'jsonl', 'sse')).toBe('application/jsonl');
  });
});

describe('a malformed Accept', () => {
  it.each([
    ',',
    ';',
    ';;;',
    '/',
    'text',
    'text/',
    '/plain',
    '*',
    'text/plain;q',
    'text/plain;q=',
    'text/plain;q=abc',
    'text/plain;q=-1',
    'text/plain;q=99',
    '"',
    'text/plain;a="',
    'text/plain;a="\\"',
    'a/b/c',
    '\u00e9/\u00e9',
    ',,,text/plain,,,',
    'a'.repeat(16_000),
    'a/b,'.repeat(4_000),
    '"'.repeat(16_000),
    ';q='.repeat(5_000),
  ])('never throws (%#)', (accept) => {
    expect(() => ofAll(accept)).not.toThrow();
  });

  it('does not hide the valid media types that it also contains', () => {
    expect(ofAll(',;,text/event-stream')).toBe('text/event-stream');
  });
});

describe('the first chunk', () => {
  const formatOfChunk = byFirstChunk(() => undefined);

  it.each([
    ['a string', 'x', 'text/plain; charset=utf-8'],
    ['a Buffer', Buffer.from('x'), 'application/octet-stream'],
    ['an ArrayBuffer', new ArrayBuffer(1), 'application/octet-stream'],
    ['an object', {}, 'application/x-ndjson'],
    ['a number', 1, 'application/x-ndjson'],
    ['null', null, 'application/x-ndjson'],
  ])('that is %s selects %s', (_what, chunk, contentType) => {
    expect(formatOfChunk(chunk).contentType?.value).toBe(contentType);
  });
});
