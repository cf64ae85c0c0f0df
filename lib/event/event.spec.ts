import { StreamError } from '../util/errors.js';
import { event, eventIn, type StreamEvent } from './event.js';

class Price {
  readonly secret = 'not for clients';
  constructor(private readonly eur: number) {}
  get data(): unknown {
    return { eur: this.eur };
  }
  get type(): string {
    return 'price';
  }
}

class Job {
  id = 7;
  retry(): void {
    return;
  }
}

class Document {
  readonly store = { data: 1 };
  get data(): number {
    return this.store.data;
  }
  toJSON(): unknown {
    return this.store;
  }
}

/** The fields that are set. */
function fieldsOf(value: object | undefined): object | undefined {
  return value && Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}

/** An object that counts how often each of its fields is read. */
function counted(fields: object): { readonly value: object; readonly reads: Record<string, number> } {
  const reads: Record<string, number> = {};
  const value = new Proxy(fields, {
    get(target, key) {
      reads[String(key)] = (reads[String(key)] ?? 0) + 1;
      return Reflect.get(target, key) as unknown;
    },
  });
  return { value, reads };
}

describe('An object in the shape of an event', () => {
  it.each<[string, object, object]>([
    ['data', { data: 1 }, { data: 1 }],
    ['data that is null', { data: null }, { data: null }],
    ['data that is undefined, which is an event without any field', { data: undefined }, {}],
    ['a comment', { comment: '' }, { comment: '' }],
    ['retry', { retry: 0 }, { retry: 0 }],
    [
      'all fields',
      { data: 1, id: '', type: '', retry: 1, comment: '' },
      { data: 1, id: '', type: '', retry: 1, comment: '' },
    ],
    ['no prototype', Object.assign(Object.create(null), { data: 1 }), { data: 1 }],
    ['a key of another name without a value', { data: 'x', foo: undefined }, { data: 'x' }],
    ['a getter for data in its class', new Price(4), { data: { eur: 4 }, type: 'price' }],
    ['the class MessageEvent of the DOM', new MessageEvent('price', { data: 4 }), { data: 4, type: 'price' }],
  ])('is an object with %s', (_what, value, fields) => {
    expect(fieldsOf(eventIn(value, 'shape'))).toEqual(fields);
  });

  it.each([
    ['an empty object', {}],
    ['only an id and a type', { id: '1', type: 'x' }],
    ['a comment without a value', { id: 1, comment: null }],
    ['a key that no event has', { data: 1, event: 'x' }],
    ['a method named as a field', new Job()],
    ['a getter for data, and toJSON()', new Document()],
    ['an array', []],
    ['null', null],
    ['undefined', undefined],
    ['a string', 'data'],
    ['a function', () => 1],
    ['a Buffer', Buffer.from('x')],
    ['an empty Buffer', Buffer.alloc(0)],
  ])('is not %s', (_what, value) => {
    expect(eventIn(value, 'shape')).toBeUndefined();
  });

  it('is not an event with events: explicit', () => {
    for (const value of [{ data: 1 }, { id: 1, comment: 'nice' }, { retry: 3 }, new Price(4)]) {
      expect(eventIn(value, 'explicit')).toBeUndefined();
    }
  });

  it('has each of its fields read once', () => {
    const { value, reads } = counted({ data: 1, id: '1', type: 't', retry: 1, comment: 'c' });

    eventIn(value, 'shape');

    expect(reads).toMatchObject({ data: 1, id: 1, type: 1, retry: 1, comment: 1 });
  });
});

describe('event()', () => {
  it.each<[string, StreamEvent]>([
    ['data', { data: { eur: 1 } }],
    ['data that is null', { data: null }],
    ['an id alone', { id: '7' }],
    ['a time to wait', { retry: 0 }],
    ['a comment', { comment: '' }],
    ['all fields', { data: 1, id: '7', type: 't', retry: 1, comment: 'c' }],
  ])('creates an event from %s, with events: shape and with events: explicit', (_what, fields) => {
    for (const mode of ['shape', 'explicit'] as const) {
      expect(eventIn(event(fields), mode)).toMatchObject(fields);
    }
  });

  it('creates an object whose copy is an event too', () => {
    const original = event({ id: '1', data: 'a' });
    const copies = [
      { ...original, data: 'b' },
      Object.assign({}, original, { data: 'b' }),
      Object.fromEntries(Object.entries({ ...original, data: 'b' })),
    ];

    for (const copy of copies) {
      expect(eventIn(copy, 'explicit')).toMatchObject({ id: '1', data: 'b' });
    }
  });

  it('creates an object that no parsed JSON can equal', () => {
    expect(JSON.parse(JSON.stringify(event({ data: 1 })))).toEqual({ data: 1 });
    expect(
      eventIn(JSON.parse('{"nestjs-streaming":"Symbol(nestjs-streaming:event)","data":1}'), 'explicit'),
    ).toBeUndefined();
  });

  it.each<[string, unknown, RegExp]>([
    [
      'an unknown key',
      { data: 1, event: 'x' },
      /has no field "event", only data, id, type, retry, comment: put it in data/,
    ],
    ['nothing in it', {}, /needs data, id, retry or comment/],
    ['fields without values', { data: undefined, comment: null, id: undefined }, /needs data, id, retry or comment/],
    ['a type alone', { type: 'ping' }, /clients ignore a type alone/],
    ['no object', 'x', /takes an object with data, id, type, retry, comment, not "x"/],
    ['nothing', undefined, /not undefined/],
  ])('refuses %s', (_what, fields, why) => {
    const make = () => event(fields as object);

    expect(make).toThrow(StreamError);
    expect(make).toThrow(expect.objectContaining({ code: 'invalid-event', message: expect.stringMatching(why) }));
  });

  it('creates an object that is not extensible, because other keys would not be sent', () => {
    expect(() => eventIn({ ...event({ data: 1 }), at: 7 }, 'shape')).toThrow(
      expect.objectContaining({ code: 'invalid-event', message: expect.stringContaining('has no field "at"') }),
    );
  });
});
