import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { Body } from '../../../connection/body/body.js';
import type { BodySettings } from '../../../connection/body/body-settings.js';
import { event, type StreamEvent } from '../../../event/event.js';
import { HubEvent } from '../../../event/hub-event.js';
import type { Encoded } from '../../../format/format.js';
import { FORMATS, type StreamFormatName } from '../../../format/formats.js';
import { chooseFormat } from '../../../format/negotiate.js';
import type { SharedChunk } from '../../../transport/shared-chunk.js';
import type { Transport } from '../../../transport/transport.js';
import { readerFor } from './body-reader.js';
import type { EventFields } from './streamed-event.js';

/** What happens to a stream, besides its chunks. */
type Step =
  | { readonly chunk: unknown }
  | { readonly event: StreamEvent }
  | { readonly notice: 'reset' | 'lagged' }
  | 'heartbeat'
  | 'position';

const RESET = { reason: 'evicted', oldest: 'a.2' } as const;
const FAILURE = { statusCode: 500, message: 'Internal server error' };

/** The bytes that a stream of a format writes. */
function written(name: StreamFormatName, steps: readonly Step[], fails: boolean): Buffer {
  const writes: Buffer[] = [];
  const write = (data: string | Uint8Array): boolean => writes.push(Buffer.from(data as Uint8Array)) > 0;
  const transport = {
    write,
    writeShared: ({ bytes }: SharedChunk) => write(bytes),
    probe: () => undefined,
    hasBody: true,
  } as unknown as Transport;
  const services = { registry: { clock: { now: () => 0 } } };
  const settings = {
    flush: 'each',
    route: 'Feed.all',
    errorEvent: 'error',
    events: 'explicit',
    services,
  } as unknown as BodySettings;
  const owner = {
    transport,
    settings,
    lifecycle: { headPending: false },
    fail: (error: unknown) => Promise.reject(error),
  };
  const body = new Body(owner, chooseFormat(FORMATS[name]));
  const put = (chunk: unknown): void => body.put(body.encode(chunk) as Encoded);
  for (const step of steps) {
    if (step === 'heartbeat') {
      body.sendHeartbeat();
    } else if (step === 'position') {
      body.sendHeartbeat('a.1');
    } else if ('notice' in step) {
      put(
        step.notice === 'reset'
          ? HubEvent.of({ type: 'reset', data: RESET }, 'a.1')
          : HubEvent.of({ type: 'lagged', data: { dropped: 3 } }, 'a.1'),
      );
    } else {
      put('event' in step ? event(step.event) : step.chunk);
    }
  }
  if (fails) {
    body.putError(FAILURE, new Error('secret'));
  } else {
    body.close('completed');
  }
  return Buffer.concat([...writes, Buffer.from(body.outbox.takeLast(true))]);
}

/** What our reader finds in a body that comes in pieces, cut at these places. */
function read(contentType: string, body: Buffer, cuts: readonly number[], whole: boolean): EventFields[] {
  const reader = readerFor(contentType, false);
  const places = [0, ...cuts.map((cut) => cut % (body.length + 1)).sort((a, b) => a - b), body.length];
  const events = places.slice(1).flatMap((end, i) => reader.read(body.subarray(places[i], end)));
  return whole ? [...events, ...reader.end()] : events;
}

/** What our reader finds in a body that comes byte by byte. */
function readBytes(contentType: string, body: Buffer, whole: boolean): EventFields[] {
  return read(contentType, body, [...body.keys()], whole);
}

const scrap = fc.constantFrom(
  ...['', 'a', ':', ' ', '\n', '\r', '\r\n', '\n\n', 'ü', '😀', '\ud83d', '\ude00', '\0', '\ufeff', '\x1e', '\u2028'],
  ...['{', '}', '[', ']', ',', '"', '\\', 'data: ', 'id: 1', 'event: error', ': '],
);
const text = fc.array(scrap, { maxLength: 8 }).map((scraps) => scraps.join(''));
const field = text.map((value) => value.replace(/[\r\n\0]/g, ''));
const json = fc.oneof(text, fc.jsonValue({ maxDepth: 3 }), fc.record({ text, rows: fc.array(text) }));
const heartbeat: fc.Arbitrary<Step> = fc.constantFrom('heartbeat', 'position');
const chunk: fc.Arbitrary<Step> = json.map((value) => ({ chunk: value }));
const notice: fc.Arbitrary<Step> = fc.constantFrom({ notice: 'reset' }, { notice: 'lagged' });
const named: fc.Arbitrary<Step> = fc
  .record(
    { data: json, id: field, type: field.filter((type) => type !== ''), comment: text, retry: fc.nat() },
    { requiredKeys: ['data'] },
  )
  .map((each) => ({ event: each }));
const comment: fc.Arbitrary<Step> = text.map((each) => ({ event: { comment: each } }));
const steps = fc.array(fc.oneof(chunk, named, heartbeat, comment, notice), { maxLength: 12 });
const cuts = fc.array(fc.nat());

/** A value as JSON text has it. */
function inJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

/** The data of the chunks and events, in their order, with what the format says itself. */
function valuesOf(all: readonly Step[], notices: Readonly<Record<'reset' | 'lagged', unknown>> | undefined): unknown[] {
  return all.flatMap((step) => {
    if (typeof step === 'string') {
      return [];
    }
    if ('notice' in step) {
      return notices ? [notices[step.notice]] : [];
    }
    const data = 'event' in step ? step.event.data : step.chunk;
    return data === undefined ? [] : [inJson(data)];
  });
}

const RECORDS = { reset: { reset: RESET }, lagged: { lagged: { dropped: 3 } } };

describe('The body of a stream, wherever the network splits it, is read alike by independent parsers and by the client of the testing kit, as', () => {
  it('ndjson: a JSON value on each line, without the empty lines', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), cuts, (all, fails, places) => {
        const body = written('ndjson', all, fails);
        const expected = [...valuesOf(all, RECORDS), ...(fails ? [{ error: FAILURE }] : [])];
        const lines = body.toString().split('\n');

        expect(lines.pop()).toBe('');
        expect(lines.filter((line) => line !== '').map((line) => JSON.parse(line))).toEqual(expected);
        for (const found of [
          read('application/x-ndjson', body, places, true),
          readBytes('application/x-ndjson', body, true),
        ]) {
          expect(found.filter(({ comment }) => comment === undefined).map(({ data }) => data)).toEqual(expected);
        }
      }),
    );
  });

  it('json-seq: records of a record separator, a JSON text and a line feed (RFC 7464)', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), cuts, (all, fails, places) => {
        const body = written('json-seq', all, fails);
        const expected = [...valuesOf(all, RECORDS), ...(fails ? [{ error: FAILURE }] : [])];
        const [before, ...texts] = body.toString().split('\x1e');

        expect(before ?? '').toBe('');
        // A sequence of separators is one: the texts between them are empty (§2.1).
        const records = texts.filter((each) => each !== '');
        expect(records.every((each) => each.endsWith('\n'))).toBe(true);
        expect(records.map((each) => JSON.parse(each))).toEqual(expected);
        for (const found of [
          read('application/json-seq', body, places, true),
          readBytes('application/json-seq', body, true),
        ]) {
          expect(found.filter(({ comment }) => comment === undefined).map(({ data }) => data)).toEqual(expected);
        }
      }),
    );
  });

  it('json: one array, which is complete if the stream has ended cleanly', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), cuts, (all, fails, places) => {
        const body = written('json', all, fails);
        const expected = valuesOf(all, undefined);

        if (fails) {
          expect(() => JSON.parse(body.toString())).toThrow();
        } else {
          expect(JSON.parse(body.toString())).toEqual(expected);
        }
        // A value whose end has not come is none.
        const found = fails ? expected.slice(0, -1) : expected;
        for (const events of [
          read('application/json', body, places, !fails),
          readBytes('application/json', body, !fails),
        ]) {
          expect(events.map(({ data }) => data)).toEqual(found);
        }
      }),
    );
  });

  it('sse: the events, and none for heartbeats, comments or positions', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), cuts, (all, fails, places) => {
        const body = written('sse', all, fails);
        const expected = sseEventsOf(all, fails);

        expect(parsedByOthers(body)).toEqual(expected);
        expect(dispatchedAtBlankLines(body)).toEqual(expected.map(({ data, type }) => ({ data, type: type ?? '' })));
        for (const found of [
          read('text/event-stream', body, places, true),
          readBytes('text/event-stream', body, true),
        ]) {
          expect(
            found.filter((each) => 'data' in each).map(({ data, id, type }) => pruned({ data, id, type })),
          ).toEqual(expected);
        }
      }),
    );
  });
});

/** The events that a client of Server-Sent Events is to have. */
function sseEventsOf(all: readonly Step[], fails: boolean): EventFields[] {
  const events = all.flatMap((step): EventFields[] => {
    if (step === 'heartbeat') {
      return [];
    }
    if (step === 'position') {
      return [{ type: 'position', id: 'a.1', data: '{}' }];
    }
    if ('notice' in step) {
      return step.notice === 'reset'
        ? [{ type: 'reset', id: 'a.1', data: JSON.stringify(RESET) }]
        : [{ type: 'lagged', data: '{"dropped":3}' }];
    }
    const { data, id, type }: StreamEvent = 'event' in step ? step.event : { data: step.chunk };
    return data === undefined ? [] : [pruned({ data: sseText(data), id: id && utf8(id), type: type && utf8(type) })];
  });
  return fails ? [...events, { type: 'error', data: JSON.stringify(FAILURE) }] : events;
}

/** Without what an event does not have. An id that is empty is not told from none by all parsers. */
function pruned({ data, id, type }: EventFields): EventFields {
  return { data, ...(id ? { id } : {}), ...(type === undefined ? {} : { type }) };
}

/** Data as a client reads it: its lines end with LF, and half a character is none. */
function sseText(data: unknown): string {
  return utf8(typeof data === 'string' ? data.replace(/\r\n?/g, '\n') : JSON.stringify(data));
}

function utf8(value: string): string {
  return Buffer.from(value).toString();
}

/** As the `eventsource-parser` package reads it. */
function parsedByOthers(body: Buffer): EventFields[] {
  const events: EventFields[] = [];
  const parser = createParser({
    onEvent: ({ data, id, event: type }) => events.push(pruned({ data, id, type })),
  });
  parser.feed(body.toString());
  return events;
}

/**
 * As several widespread clients read it (the OpenAI Python client, httpx-sse): they dispatch at every empty line, as soon as there has been
 * anything since the last, or an id ever.
 */
function dispatchedAtBlankLines(body: Buffer): { data: string; type: string }[] {
  const events: { data: string; type: string }[] = [];
  let [type, data, lastId, retry] = ['', [] as string[], '', ''];
  for (const line of body.toString().split(/\r\n|\n|\r/)) {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (line === '') {
      if (type || data.length > 0 || lastId || retry) {
        events.push({ data: data.join('\n'), type });
      }
      [type, data, retry] = ['', [], ''];
    } else if (name === 'event') {
      type = value;
    } else if (name === 'data') {
      data.push(value);
    } else if (name === 'id') {
      lastId = value;
    } else if (name === 'retry') {
      retry = value;
    }
  }
  // The last line has not ended.
  return events.slice(0, lastId ? -1 : undefined);
}
