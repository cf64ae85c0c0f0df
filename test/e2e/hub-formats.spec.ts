import { Controller, Query, type Type } from '@nestjs/common';
import {
  defineFormat,
  Hub,
  HubEvent,
  type HubOptions,
  InjectHub,
  LastEventId,
  Stream,
  type StreamFormat,
  StreamingModule,
  type StreamOptions,
  StreamSignal,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { hubOf, joined, publishAll, range } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, turns, useApps } from '../support/running.js';

const launch = useApps();

async function start(
  platform: Platform,
  controllers: Type[],
  { hub = {}, ...setup }: Omit<AppSetup, 'controllers'> & { hub?: Partial<HubOptions> } = {},
): Promise<RunningApp & { readonly hub: Hub }> {
  const imports = [StreamingModule.registerHub({ name: 'feed', ...hub })];
  const app = await launch(platform, { ...setup, controllers, imports });
  return { ...app, hub: hubOf(app) };
}

/** Two routes in one format: `GET /returned` and `GET /iterated`, from `?after=` or the `Last-Event-ID` on. */
function feedIn(format?: StreamOptions['format']): Type {
  @Controller()
  class Feed {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Stream('returned', { format })
    returned(@LastEventId() id?: string, @Query('after') after = id) {
      return this.hub.subscribe({ after });
    }

    @Stream('iterated', { format })
    async *iterated(@StreamSignal() signal: AbortSignal, @LastEventId() id?: string, @Query('after') after = id) {
      for await (const event of this.hub.subscribe({ after, signal })) {
        yield event;
      }
    }
  }
  return Feed;
}

/** The body as text. */
function textOf({ body }: RawClient): string {
  return Buffer.from(body, 'latin1').toString();
}

const VALUES = [
  'text',
  'two\nlines',
  '',
  'ü 👋🏽',
  { n: 1, s: 'ü' },
  [1, { a: null }],
  7,
  -0.5,
  true,
  false,
  null,
  Buffer.of(0, 1, 255),
  new Uint16Array([1]),
];

const JSON_VALUES = [
  '"text"',
  '"two\\nlines"',
  '""',
  '"ü 👋🏽"',
  '{"n":1,"s":"ü"}',
  '[1,{"a":null}]',
  '7',
  '-0.5',
  'true',
  'false',
  'null',
  '"AAH/"',
  '"AQA="',
];

/** The encoding of strings, bytes and other values in `text`, as from a generator. */
const PLAIN = Buffer.concat([
  Buffer.from('texttwo\nlinesü 👋🏽{"n":1,"s":"ü"}\n[1,{"a":null}]\n7-0.5truefalsenull\n'),
  Buffer.of(0, 1, 255, 1, 0),
]).toString('latin1');

const BODIES: readonly (readonly [name: NonNullable<StreamOptions['format']>, type: string, body: string])[] = [
  ['ndjson', 'application/x-ndjson', JSON_VALUES.map((json) => `${json}\n`).join('')],
  ['jsonl', 'application/jsonl', JSON_VALUES.map((json) => `${json}\n`).join('')],
  ['json-seq', 'application/json-seq', JSON_VALUES.map((json) => `\x1e${json}\n`).join('')],
  ['json', 'application/json', `[${JSON_VALUES.join(',')}]`],
];

describe.each(PLATFORMS)('%s: an event that is published', (platform) => {
  /** All values: some from the history, and some new. */
  async function bodies(format: StreamOptions['format']): Promise<{ clients: RawClient[]; ids: string[] }> {
    const { get, hub } = await start(platform, [feedIn(format)]);
    const before = await hub.publish('before');
    const old = await publishAll(hub, VALUES.slice(0, 5));
    const clients = [await get(`/returned?after=${before}`), await get(`/iterated?after=${before}`)];
    await joined(hub, 2);
    const live = [];
    for (const value of VALUES.slice(5)) {
      live.push(await hub.publish(value));
      await turns(2);
    }
    await hub.close();
    await Promise.all(clients.map((client) => client.until('\r\n0\r\n\r\n')));
    return { clients, ids: [...old, ...live] };
  }

  it.each(BODIES)('is sent as %s', async (format, type, body) => {
    const { clients } = await bodies(format);

    for (const client of clients) {
      expect(client.head.toLowerCase()).toContain(`\r\ncontent-type: ${type}\r\n`);
      expect(textOf(client)).toBe(body);
      expect(client.complete).toBe(true);
    }
  });

  it('is sent as sse, with ids', async () => {
    const { clients, ids } = await bodies('sse');

    const data = [
      'data: text\n',
      'data: two\ndata: lines\n',
      'data: \n',
      'data: ü 👋🏽\n',
      ...JSON_VALUES.slice(4, 11).map((json) => `data: ${json}\n`),
      'data: AAH/\n',
      'data: AQA=\n',
    ];
    for (const client of clients) {
      expect(textOf(client)).toBe(data.map((lines, i) => `id: ${ids[i]}\n${lines}\n`).join(''));
    }
  });

  it.each(['text', 'bytes'] as const)(
    'is sent as %s, the same from a returned and an iterated subscription',
    async (format) => {
      const { clients } = await bodies(format);
      const [returned, iterated] = clients.map(({ body }) => body);

      expect(iterated).toBe(PLAIN);
      expect(returned).toBe(PLAIN);
    },
  );

  it.each(['text', 'bytes'] as const)('that is a string or bytes is sent unchanged: %s', async (format) => {
    const { get, hub } = await start(platform, [feedIn(format)]);
    const client = await get('/returned');
    await joined(hub, 1);

    await publishAll(hub, ['a', Buffer.of(0, 255), '', 'ü', Buffer.alloc(0), new Float32Array(1).buffer, 'end']);
    await client.until('end');

    expect(client.frames).toEqual([Buffer.from('a\0\xff\xc3\xbc\0\0\0\0end', 'latin1').toString('latin1')]);
  });

  it('reaches clients of all formats at once', async () => {
    const { get, hub } = await start(platform, [feedIn()]);
    const types = [
      'text/event-stream',
      'application/x-ndjson',
      'application/json-seq',
      'application/json',
      'text/plain',
    ];
    const clients = await Promise.all(types.map((type) => get('/returned', { Accept: type })));
    await joined(hub, types.length);

    const id = await hub.publish({ n: 1 }, { type: 't', topic: 'x', key: 'k' });
    await hub.close();
    await Promise.all(clients.map((client) => client.until('0\r\n\r\n')));

    expect(clients.map(({ body }) => body.replace(/^event: position\nid: \S+\ndata: \{\}\n\n/, ''))).toEqual([
      `event: t\nid: ${id}\ndata: {"n":1}\n\n`,
      '{"n":1}\n',
      '\x1e{"n":1}\n',
      '[{"n":1}]',
      '{"n":1}\n',
    ]);
  });

  it('that is missing leaves a valid JSON array', async () => {
    const { get, hub } = await start(platform, [feedIn('json')]);
    const client = await get('/returned');
    await client.until('\r\n\r\n');

    await hub.close();
    await client.until('0\r\n\r\n');

    expect(client.body).toBe('[]');
  });

  it('as an object that looks like an event is data', async () => {
    const { get, hub } = await start(platform, [feedIn()]);
    const accepts = ['text/event-stream', 'application/x-ndjson'];
    const before = await hub.publish('before');
    const clients = await Promise.all(
      ['/returned', '/iterated'].flatMap((path) => accepts.map((Accept) => get(`${path}?after=${before}`, { Accept }))),
    );
    await joined(hub, 4);

    const id = await hub.publish({ data: 1, id: 'mine', type: 'x' });
    await hub.publish({ retry: 5 });
    await hub.publish('end');
    await Promise.all(clients.map((client) => client.until('end')));

    const sse = expect.stringContaining(`id: ${id}\ndata: {"data":1,"id":"mine","type":"x"}\n\n`);
    const ndjson = expect.stringMatching(/^\{"data":1,"id":"mine","type":"x"\}\n\{"retry":5\}\n"end"/);
    expect(clients.map(({ body }) => body)).toEqual([sse, ndjson, sse, ndjson]);
  });
});

describe.each(PLATFORMS)('%s: a custom format', (platform) => {
  function counted(format: Partial<StreamFormat>) {
    const values: unknown[] = [];
    const own = defineFormat({
      name: 'own',
      mediaTypes: ['text/x-own'],
      ...format,
      encode: (value) => {
        values.push(value);
        return `<${JSON.stringify(value)}>`;
      },
    });
    return { own, values };
  }

  it('encodes the data once for all of its clients', async () => {
    const { own, values } = counted({});
    const { get, hub } = await start(platform, [feedIn(own)]);
    const before = await hub.publish('before');
    const clients = await Promise.all(range(1, 20).map(() => get('/returned')));
    await joined(hub, 20);

    await publishAll(hub, [{ n: 1 }, 'text', Buffer.from('bin')], { type: 't' });
    await Promise.all(clients.map((client) => client.until('}>\r\n')));
    const late = await get(`/returned?after=${before}`);
    await late.until('}>\r\n');

    const body = '<{"n":1}><"text"><{"type":"Buffer","data":[98,105,110]}>';
    expect([...clients, late].map((client) => client.body)).toEqual(Array(21).fill(body));
    expect(values).toEqual([{ n: 1 }, 'text', Buffer.from('bin')]);
  });

  it('with fields encodes events once for all of its clients', async () => {
    const { own, values } = counted({ fields: true });
    const { get, hub } = await start(platform, [feedIn(own)]);
    const clients = await Promise.all(range(1, 20).map(() => get('/returned')));
    await joined(hub, 20);

    const id = await hub.publish({ n: 1 }, { type: 't', topic: 'x', key: 'k' });
    await Promise.all(clients.map((client) => client.until('}>\r\n')));

    expect(clients.map((client) => client.body)).toEqual(Array(20).fill(`<{"id":"${id}","type":"t","data":{"n":1}}>`));
    const [event] = values as HubEvent[];
    expect(values).toHaveLength(1);
    expect([event?.id, event?.type, event?.data, event?.topic, event?.key]).toEqual([id, 't', { n: 1 }, 'x', 'k']);
  });

  it('with open and close sends these to every client', async () => {
    const { own } = counted({ open: 'OPEN ', separator: ' | ', close: ' CLOSE' });
    const { get, hub } = await start(platform, [feedIn(own)]);
    const early = await get('/returned');
    await joined(hub, 1);
    await hub.publish(1);
    const late = await get('/returned');
    await joined(hub, 2);
    await publishAll(hub, [2, 3]);
    await hub.close();
    await Promise.all([early, late].map((client) => client.until('0\r\n\r\n')));

    expect([early.body, late.body]).toEqual(['OPEN <1> | <2> | <3> CLOSE', 'OPEN <2> | <3> CLOSE']);
  });

  it('that throws makes only its own streams fail', async () => {
    const picky = defineFormat({
      name: 'picky',
      mediaTypes: ['text/x-picky'],
      encode: (value) => {
        if (value === 2) {
          throw new Error('no twos');
        }
        return `${String(value)};`;
      },
    });
    const { get, hub, logs } = await start(platform, [feedIn([picky, 'ndjson'])]);
    const ndjson = { Accept: 'application/x-ndjson' };
    const clients = [
      await get('/returned'),
      await get('/returned', ndjson),
      await get('/returned'),
      await get('/returned', ndjson),
    ];
    await joined(hub, 4);

    await hub.publish(1);
    await Promise.all(clients.map((client) => client.until('1')));
    await hub.publish(2);
    await hub.publish(3);
    const [first, second, third, fourth] = clients;
    await Promise.all([first?.closed(), second?.until('3\n'), third?.closed(), fourth?.until('3\n')]);

    expect(clients.map(({ body, complete }) => [body, complete])).toEqual([
      ['1;', false],
      ['1\n2\n3\n', false],
      ['1;', false],
      ['1\n2\n3\n', false],
    ]);
    expect(hub.size()).toBe(2);
    expect(logs.of('error')).toHaveLength(2);
    expect(logs.of('error').join()).toContain('no twos');
  });

  it('that returns an empty string for an event sends nothing for it, and continues', async () => {
    const odd = defineFormat<number>({
      name: 'odd',
      mediaTypes: ['text/x-odd'],
      encode: (value) => (value % 2 ? `${value};` : ''),
    });
    const { get, hub } = await start(platform, [feedIn(odd)]);
    const clients = [await get('/returned'), await get('/iterated')];
    await joined(hub, 2);

    await hub.publish(2);
    await hub.publish(4);
    await turns(3);
    await publishAll(hub, [1, 2, 3, 4]);
    await Promise.all(clients.map((client) => client.until('3;')));
    const late = await get('/returned?after=unknown');
    await late.until('3;');

    expect([...clients, late].map(({ body }) => body)).toEqual(Array(3).fill('1;3;'));
  });

  it('may return bytes for one event and text for another', async () => {
    const mixed = defineFormat<number>({
      name: 'mixed',
      mediaTypes: ['text/x-mixed'],
      encode: (value) => (value % 2 ? `${value}ü` : Buffer.of(value, 255)),
    });
    const { get, hub } = await start(platform, [feedIn(mixed)]);
    const clients = [await get('/returned'), await get('/iterated')];
    await joined(hub, 2);

    await publishAll(hub, [1, 2, 3, 4]);
    await Promise.all(clients.map((client) => client.until('\x04\xff')));

    expect(clients.map(({ body }) => body)).toEqual(Array(2).fill('1\xc3\xbc\x02\xff3\xc3\xbc\x04\xff'));
  });
});

describe.each(PLATFORMS)('%s: a format that is not decided', (platform) => {
  it.each([
    ['text for strings', ['a', 'b\n', 'c'], 'text/plain; charset=utf-8', 'ab\nc'],
    ['NDJSON for objects', [{ n: 1 }, { n: 2 }], 'application/x-ndjson', '{"n":1}\n{"n":2}\n'],
    ['NDJSON for numbers', [1, 2], 'application/x-ndjson', '1\n2\n'],
    [
      'NDJSON for objects that look like events',
      [{ data: 'a' }, { data: 'b' }],
      'application/x-ndjson',
      '{"data":"a"}\n{"data":"b"}\n',
    ],
    ['bytes for binary', [Buffer.from('x'), Buffer.from('y')], 'application/octet-stream', 'xy'],
    ['what the first event says for all: text', ['a', { n: 1 }], 'text/plain; charset=utf-8', 'a{"n":1}\n'],
    ['what the first event says for all: NDJSON', [{ n: 1 }, 'a'], 'application/x-ndjson', '{"n":1}\n"a"\n'],
  ])('is %s', async (_what, values, type, body) => {
    const { get, hub } = await start(platform, [feedIn()]);
    const accepts: Record<string, string>[] = [{}, { Accept: '*/*' }, {}];
    const clients = await Promise.all(accepts.map((headers) => get('/returned', headers)));
    clients.push(await get('/iterated'));
    await joined(hub, 4);
    await turns(3);
    expect(clients.map(({ received }) => received)).toEqual(['', '', '', '']);

    for (const value of values) {
      await hub.publish(value);
      await turns(3);
    }
    await hub.close();
    await Promise.all(clients.map((client) => client.until('0\r\n\r\n')));

    for (const client of clients) {
      expect(client.head.toLowerCase()).toContain(`\r\ncontent-type: ${type}\r\n`);
      expect(client.body).toBe(body);
    }
  });

  it('is decided by the history, if that has events for the client', async () => {
    const { get, hub } = await start(platform, [feedIn()]);
    const before = await hub.publish({ n: 0 });
    await publishAll(hub, ['a', 'b']);

    const client = await get(`/returned?after=${before}`);
    await client.until('b');
    await hub.publish('c');
    await client.until('\r\nc\r\n');

    expect(client.head.toLowerCase()).toContain('content-type: text/plain; charset=utf-8');
    expect(client.body).toBe('abc');
  });

  it('becomes NDJSON if the hub is closed before the first event', async () => {
    const { get, hub } = await start(platform, [feedIn()]);
    const client = await get('/returned', { Connection: 'close' });
    await joined(hub, 1);

    await hub.close();
    await client.closed();

    expect(client.head.toLowerCase()).toContain('content-type: application/x-ndjson');
    expect(client.body).toBe('');
  });
});

describe.each(PLATFORMS)('%s: a gap is reported', (platform) => {
  const REASON = { reason: 'malformed', oldest: expect.any(String) };

  it.each([
    ['ndjson', ''],
    ['jsonl', ''],
    ['json-seq', '\x1e'],
  ] as const)('as a record, in %s', async (format, mark) => {
    const { get, hub } = await start(platform, [feedIn(format)]);
    await publishAll(hub, [1, 2]);

    const clients = [await get('/returned?after=unknown'), await get('/iterated?after=unknown')];
    await Promise.all(clients.map((client) => client.until('2\n')));

    for (const { body } of clients) {
      const [reset = '', ...rest] = body.split('\n');
      expect(reset.slice(0, mark.length)).toBe(mark);
      expect(JSON.parse(reset.slice(mark.length))).toEqual({ reset: REASON });
      expect(rest).toEqual([`${mark}1`, `${mark}2`, '']);
    }
  });

  it('as an event, in sse', async () => {
    const { get, hub } = await start(platform, [feedIn('sse')]);
    const ids = await publishAll(hub, [1, 2]);

    const clients = [await get('/returned?after=unknown'), await get('/iterated?after=unknown')];
    await Promise.all(clients.map((client) => client.until('data: 2\n\n')));

    for (const { body } of clients) {
      expect(body).toMatch(/^event: reset\nid: \S+\ndata: \{"reason":"malformed","oldest":"\S+"\}\n\nid: /);
      expect(body).toContain(`"oldest":"${ids[0]}"}\n\nid: ${ids[0]}\ndata: 1\n\nid: ${ids[1]}\ndata: 2\n\n`);
    }
  });

  it.each([
    ['json', '[1,2]'],
    ['text', 'onetwo'],
    ['bytes', 'onetwo'],
  ] as const)('by no record in %s, which has none for it, and the history follows', async (format, body) => {
    const { get, hub } = await start(platform, [feedIn(format)]);
    await publishAll(hub, format === 'json' ? [1, 2] : ['one', 'two']);
    const clients = [await get('/returned?after=unknown'), await get('/iterated?after=unknown')];
    await Promise.all(clients.map((client) => client.until(format === 'json' ? '2' : 'two')));
    await hub.close();
    await Promise.all(clients.map((client) => client.until('0\r\n\r\n')));

    expect(clients.map((client) => client.body)).toEqual([body, body]);
  });

  it('as the custom format encodes it', async () => {
    const encode = (value: unknown) => `${JSON.stringify(value)};`;
    const types = ['text/x-record', 'text/x-event', 'text/x-none'];
    const formats = [
      defineFormat({
        name: 'record',
        mediaTypes: ['text/x-record'],
        encode,
        reset: ({ reason, oldest }) => `RESET ${reason} ${typeof oldest};`,
      }),
      defineFormat({ name: 'event', mediaTypes: ['text/x-event'], encode, fields: true }),
      defineFormat({ name: 'none', mediaTypes: ['text/x-none'], encode }),
    ];
    const { get, hub } = await start(platform, [feedIn(formats)]);
    const id = await hub.publish(1);

    const clients = await Promise.all(types.map((Accept) => get('/returned?after=unknown', { Accept })));
    await Promise.all(clients.map((client) => client.until(';\r\n')));
    await hub.publish(2);
    await Promise.all(clients.map((client) => client.until(/2\}?;/)));

    const [record, event, none] = clients.map((client) => client.body);
    expect(record).toBe('RESET malformed string;1;2;');
    expect(none).toBe('1;2;');
    const [reset] = (event ?? '').split(';');
    expect(JSON.parse(reset ?? '')).toEqual({ id: expect.any(String), type: 'reset', data: { ...REASON, oldest: id } });
    expect(event).toContain(`;{"id":"${id}","data":1};{"id":`);
  });
});

describe.each(PLATFORMS)('%s: a silent hub', (platform) => {
  it.each([
    ['sse', ':\n'],
    ['ndjson', '\n'],
    ['json-seq', '\x1e'],
  ] as const)('keeps the connection alive: %s', async (format, heartbeat) => {
    const { get, hub } = await start(platform, [feedIn(format)], { options: { heartbeat: 10 } });
    const client = await get('/returned');

    await client.until(`\r\n${heartbeat}\r\n`);
    await hub.publish(1);
    await client.until('1\n');

    expect(client.frames).toContain(heartbeat);
  });
});
