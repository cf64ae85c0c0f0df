import { Controller, NotFoundException, type Type } from '@nestjs/common';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { agUi, chatCompletions, messages, responses, uiMessages } from '../../lib/ai/index.js';
import {
  event,
  Hub,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamFormat,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { hubOf, joined } from '../support/hub.js';
import { RawClient } from '../support/raw-client.js';
import { asMessage, PythonDecoder } from './python-decoder.js';
import { Stage, useScenes } from './support.js';

const start = useScenes();

/** The events of a body in a parser that follows the WHATWG standard. */
function messagesOf(body: string): EventSourceMessage[] {
  const messages: EventSourceMessage[] = [];
  let last: string | undefined;
  // In this parser, an event without an id has none. In the standard, it has the last one.
  const parser = createParser({
    onEvent: ({ id = last, ...message }) => {
      last = id;
      messages.push({ ...message, id });
    },
  });
  parser.feed(body);
  return messages;
}

/** Expects that both kinds of parsers find the same events, and that each has JSON as data, as clients of models expect. */
function expectSame(body: string): EventSourceMessage[] {
  const events = PythonDecoder.decode(body);
  expect(events.map(asMessage)).toEqual(messagesOf(body));
  for (const { data } of events) {
    expect(data === '[DONE]' || JSON.parse(data)).toBeTruthy();
  }
  return events.map(asMessage);
}

/** A route that sends items with heartbeats between them, and then an error. */
function routeOf(stage: Stage, items: readonly unknown[]): Type {
  @Controller()
  class Source {
    @Sse('source')
    async *source(@StreamSignal() signal: AbortSignal) {
      yield* stage.play(items, signal);
      throw new NotFoundException('There is no more');
    }
  }
  return Source;
}

const ERROR = { event: 'error', data: '{"statusCode":404,"message":"There is no more","error":"Not Found"}' };

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub) {}

  @Sse('source')
  source(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }
}

describe.each(PLATFORMS)(
  '%s: the packages openai and httpx-sse for Python find the events that a browser finds',
  (platform) => {
    it.each<[string, unknown[], EventSourceMessage[]]>([
      ['without ids', [{ a: 1 }, { a: 2 }], [{ data: '{"a":1}' }, { data: '{"a":2}' }, ERROR]],
      [
        'with ids, with heartbeats after them',
        [{ data: { a: 1 }, id: '1' }, { data: { a: 2 } }, { data: { a: 3 }, id: '3', type: 't' }],
        [
          { data: '{"a":1}', id: '1' },
          { data: '{"a":2}', id: '1' },
          { data: '{"a":3}', id: '3', event: 't' },
          { ...ERROR, id: '3' },
        ],
      ],
      [
        'with a time to wait alone, a comment alone, and an id alone',
        [
          { comment: 'a' },
          { retry: 3000 },
          { comment: 'b' },
          event({ id: '1' }),
          { retry: 4000 },
          { comment: 'c' },
          { a: 1 },
        ],
        [
          { event: 'position', data: '{}', id: '1' },
          { data: '{"a":1}', id: '1' },
          { ...ERROR, id: '1' },
        ],
      ],
    ])('in a stream %s', async (_what, items, expected) => {
      const stage = new Stage('complete');
      const { wire } = await start(platform, stage, { controllers: [routeOf(stage, items)] });
      const client = await RawClient.get(wire.port, '/source');
      await client.closed();

      expect(expectSame(client.body)).toEqual(expected);
    });

    it('in a hub with heartbeats, a reset, and the time to wait when the application closes', async () => {
      const scene = await start(platform, undefined, {
        controllers: [Feed],
        imports: [StreamingModule.registerHub({ name: 'feed' })],
      });
      const hub = hubOf(scene);
      const client = await RawClient.get(scene.wire.port, '/source', { 'Last-Event-ID': 'of another log' });
      await joined(hub, 1);
      await scene.wire.beats(3);
      const id = await hub.publish({ a: 1 });
      await scene.wire.beats(3);
      await scene.close();
      await client.closed();

      expect(expectSame(client.body)).toEqual([
        expect.objectContaining({ event: 'reset' }),
        { data: '{"a":1}', id },
        { event: 'shutdown', data: '{}', id },
      ]);
    });
  },
);

/** An answer in each format of AI protocols: items before an error. */
const ANSWERS: readonly [StreamFormat, readonly object[]][] = [
  [uiMessages, [{ type: 'start' }, { type: 'text-start', id: '1' }, { type: 'text-delta', id: '1', delta: 'a\nb' }]],
  [chatCompletions, [{ choices: [{ delta: { content: 'a' } }] }, { choices: [{ delta: { content: '\r\n' } }] }]],
  [responses, [{ type: 'response.created' }, { type: 'response.output_text.delta', delta: 'a' }]],
  [messages, [{ type: 'message_start' }, { type: 'content_block_delta', delta: { text: 'a' } }]],
  [agUi, [{ type: 'RUN_STARTED' }, { type: 'TEXT_MESSAGE_CONTENT', delta: 'a' }]],
];

describe.each(PLATFORMS)('%s: the packages openai and httpx-sse for Python', (platform) => {
  it.each(ANSWERS.map(([format, items]) => [format.name, format, items] as const))(
    'find the items of the format %s, and its error',
    async (_name, format, items) => {
      const stage = new Stage('complete');
      @Controller()
      class Source {
        @Stream('source', { format })
        async *source(@StreamSignal() signal: AbortSignal) {
          yield* stage.play(items, signal);
          throw new NotFoundException('There is no more');
        }
      }
      const { wire } = await start(platform, stage, { controllers: [Source] });
      const client = await RawClient.get(wire.port, '/source', { Connection: 'close' });
      await client.closed();

      const data = expectSame(client.body)
        .filter(({ event }) => event !== 'ping')
        .map((message) => message.data);
      expect(data.slice(0, items.length).map((text) => JSON.parse(text))).toMatchObject(items);
      expect(data.slice(items.length).join()).toContain('There is no more');
      expect(client.complete).toBe(true);
    },
  );
});
