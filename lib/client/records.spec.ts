import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { jsonParser, type Parser, type Received, sseParser } from './records.js';

const LIMIT = 2 ** 20;

/** Everything that a parser reads of a text that comes in pieces. */
function readAll(parse: Parser, pieces: readonly string[]): Received[] {
  return pieces.flatMap((piece) => parse(piece));
}

/** A text in pieces, split at the given places. */
function split(text: string, places: readonly number[]): string[] {
  const ends = [...places.map((place) => place % (text.length + 1)), text.length].sort((a, b) => a - b);
  return ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end));
}

/** What `eventsource-parser` reads. It calls an event without a type `undefined` too. */
function reference(text: string): Received[] {
  const events: Received[] = [];
  createParser({
    onEvent: ({ id, event, data }) => events.push({ id, type: event || undefined, text: data }),
    onRetry: (retry) => events.push({ retry }),
  }).feed(text);
  return events;
}

const line = fc.oneof(
  fc.constantFrom(
    'data',
    'data:',
    'data: ',
    'data:  x',
    'id',
    'id: 7',
    'id:\0',
    'event: a',
    'event',
    ': c',
    'retry: 5',
    'retry: x',
    '',
    '',
    '',
  ),
  fc
    .tuple(fc.constantFrom('data', 'id', 'event', 'other'), fc.string({ unit: 'binary' }))
    .map(([name, value]) => `${name}:${value.replace(/[\r\n\0\ufeff]/g, '')}`),
);
const body = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')))
  // eventsource-parser 3 waits at the end of a piece for the LF after a CR.
  .map((lines) => `${lines.map((each) => each.join('')).join('')}:\n`);

describe('the parser of Server-Sent Events', () => {
  it('reads the same as eventsource-parser, wherever the text is split', () => {
    fc.assert(
      fc.property(body, fc.array(fc.nat()), (text, places) => {
        const read = readAll(sseParser(LIMIT), split(text, places));
        const events = read.filter((each) => each.text !== undefined || each.retry !== undefined);
        expect(events).toEqual(reference(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each(['\n', '\r', '\r\n'])('reads events whose lines end with %j, in pieces of one character', (end) => {
    const text = ['id: 1', 'event: price', 'data: a', 'data: b', '', 'data', '', ''].join(end);
    const events = readAll(sseParser(LIMIT), [...text]).filter((each) => each.text !== undefined);
    expect(events).toEqual([
      { id: '1', type: 'price', text: 'a\nb' },
      { id: undefined, type: undefined, text: '' },
    ]);
  });

  it('takes the id of an event that has no data', () => {
    expect(sseParser(LIMIT)('id: 7\n\n')).toEqual([{ id: '7' }]);
  });

  it.each(['data: x', 'data: x\n', 'id: 1\neve', 'id: 1\n'])('reports a body that ends with %j as cut off', (text) => {
    const parse = sseParser(LIMIT);
    parse(`data: whole\n\n${text}`);
    expect(parse()).toMatchObject([{ error: { code: 'network' } }]);
  });

  it.each(['', ': comment', 'data: x\n\n', 'data: x\r\r'])('takes a body that ends with %j as complete', (text) => {
    const parse = sseParser(LIMIT);
    parse(text);
    expect(parse()).toEqual([]);
  });

  it('holds no more than the longest event', () => {
    const parse = sseParser(100);
    const read = Array.from({ length: 60 }, () => parse('data: x\n')).flat();
    expect(read[0]).toMatchObject({ error: { code: 'too-large' } });
    expect(sseParser(100)('x'.repeat(101))).toMatchObject([{ error: { code: 'too-large' } }]);
  });
});

describe('the parser of lines of JSON', () => {
  it('reads the same as JSON.parse(), wherever the text is split', () => {
    fc.assert(
      fc.property(fc.array(fc.json()), fc.constantFrom('', '\x1e'), fc.array(fc.nat()), (texts, begin, places) => {
        const parse = jsonParser(LIMIT, (data) => ({ data }));
        const read = readAll(parse, split(texts.map((text) => `${begin}${text}\n`).join(''), places));
        expect([...read, ...parse()]).toEqual(texts.map((text) => ({ data: JSON.parse(text) })));
      }),
      { numRuns: 1_000 },
    );
  });

  it('reads the last line without its end, and an incomplete one as a lost connection', () => {
    const whole = jsonParser(LIMIT);
    expect([...whole('1\n{"a":2}'), ...whole()]).toEqual([{ data: 1 }, { data: { a: 2 } }]);
    const half = jsonParser(LIMIT);
    expect([...half('1\n{"a"'), ...half()]).toMatchObject([{ data: 1 }, { error: { code: 'network' } }]);
  });

  it('reads what comes before a line that is not JSON', () => {
    expect(jsonParser(LIMIT)('1\nnull\n<html>\n2\n')).toMatchObject([
      { data: 1 },
      { data: null },
      { error: { code: 'invalid-data' } },
    ]);
  });

  it('does not list the keys of values, which may be many, such as those of a long text', () => {
    const keys = import.meta.jest.spyOn(Object, 'keys');
    jsonParser(LIMIT)('"text"\n[1]\n{"a":1}\n{"error":1}\n');
    const calls = keys.mock.calls.length;
    keys.mockRestore();
    expect(calls).toBe(0);
  });

  it('tells the records of the server from values that look like them', () => {
    const read = jsonParser(LIMIT)(
      '{"reset":{"reason":"epoch","oldest":null}}\n{"lagged":{"dropped":3}}\n{"reset":1}\n{"reset":{"reason":"x"},"more":1}\n{"constructor":{"a":1}}\n[]\n',
    );
    const expected: unknown[] = [
      { type: 'reset', data: { reason: 'epoch', oldest: null } },
      { type: 'lagged', data: { dropped: 3 } },
      { data: { reset: 1 } },
      { data: { reset: { reason: 'x' }, more: 1 } },
      { data: { constructor: { a: 1 } } },
      { data: [] },
    ];
    expect(read).toEqual(expected);
    expect(jsonParser(LIMIT)('{"error":{"statusCode":409,"message":"taken"}}\n')).toMatchObject([
      { error: { code: 'failed', status: 409, body: { message: 'taken' } } },
    ]);
  });
});
