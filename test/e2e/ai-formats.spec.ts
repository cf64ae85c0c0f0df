import { Controller, HttpException, RequestMethod, type Type } from '@nestjs/common';
import { agUi, chatCompletions, messages, responses, uiMessages } from '../../lib/ai/index.js';
import { event, Stream, type StreamFormat, type StreamOptions } from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import type { RawClient } from '../support/raw-client.js';
import { useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();
const BEAT_MS = 1_000;

interface Protocol {
  readonly name: string;
  readonly format: StreamFormat;
  readonly items: readonly [object, object];
  /** The items as they are sent, and what follows a complete answer. */
  readonly sent: readonly [string, string];
  readonly done: string;
  /** What follows the first item if the handler throws `Slow down` with the status 429, an unknown error, or the server closes the stream. */
  readonly refused: string;
  readonly failed: string;
  readonly closed: string;
  readonly heartbeat: string;
  /** An item after which the client expects no other. */
  readonly last?: object;
  /** The messages of a WebSocket for the first item and for `Slow down`. */
  readonly messages: readonly string[];
}

const DONE = 'data: [DONE]\n\n';
const ui = { start: { type: 'text-start', id: '1' }, delta: { type: 'text-delta', id: '1', delta: 'Hi\n' } };
const chunk = (content: string) => ({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] });

const PROTOCOLS: readonly Protocol[] = [
  {
    name: 'uiMessages',
    format: uiMessages,
    items: [ui.start, ui.delta],
    sent: ['data: {"type":"text-start","id":"1"}\n\n', 'data: {"type":"text-delta","id":"1","delta":"Hi\\n"}\n\n'],
    done: DONE,
    refused: `data: {"type":"text-end","id":"1"}\n\ndata: {"type":"error","errorText":"Slow down"}\n\n${DONE}`,
    failed: `data: {"type":"text-end","id":"1"}\n\ndata: {"type":"error","errorText":"Internal server error"}\n\n${DONE}`,
    closed: `data: {"type":"text-end","id":"1"}\n\ndata: {"type":"abort"}\n\n${DONE}`,
    heartbeat: ':\n',
    last: { type: 'finish' },
    messages: ['{"type":"text-start","id":"1"}', '{"type":"error","errorText":"Slow down"}'],
  },
  {
    name: 'chatCompletions',
    format: chatCompletions,
    items: [chunk('H'), chunk('i\n')],
    sent: [
      'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"H"}}]}\n\n',
      'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"i\\n"}}]}\n\n',
    ],
    done: DONE,
    refused: `data: {"error":{"message":"Slow down","type":"rate_limit_error","code":"too_fast","param":null}}\n\n${DONE}`,
    failed: `data: {"error":{"message":"Internal server error","type":"server_error","code":null,"param":null}}\n\n${DONE}`,
    closed: `data: {"error":{"message":"The server closed the stream","type":"server_error","code":"server-closed","param":null}}\n\n${DONE}`,
    heartbeat: ':\n',
    messages: [
      '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"H"}}]}',
      '{"error":{"message":"Slow down","type":"rate_limit_error","code":"too_fast","param":null}}',
    ],
  },
  {
    name: 'responses',
    format: responses,
    items: [{ type: 'response.created' }, { type: 'response.output_text.delta', delta: 'Hi\n' }],
    sent: [
      'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n',
      'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hi\\n","sequence_number":1}\n\n',
    ],
    done: '',
    refused:
      'event: error\ndata: {"type":"error","code":"too_fast","message":"Slow down","param":null,"sequence_number":1}\n\n',
    failed:
      'event: error\ndata: {"type":"error","code":"server_error","message":"Internal server error","param":null,"sequence_number":1}\n\n',
    closed:
      'event: error\ndata: {"type":"error","code":"server-closed","message":"The server closed the stream","param":null,"sequence_number":1}\n\n',
    heartbeat: ':\n',
    last: { type: 'response.completed' },
    messages: [
      '{"type":"response.created","sequence_number":0}',
      '{"type":"error","code":"too_fast","message":"Slow down","param":null,"sequence_number":1}',
    ],
  },
  {
    name: 'messages',
    format: messages,
    items: [{ type: 'message_start' }, { type: 'content_block_delta', delta: { text: 'Hi\n' } }],
    sent: [
      'event: message_start\ndata: {"type":"message_start"}\n\n',
      'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"Hi\\n"}}\n\n',
    ],
    done: '',
    refused: 'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}\n\n',
    failed: 'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"Internal server error"}}\n\n',
    closed:
      'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"The server closed the stream"}}\n\n',
    heartbeat: 'event: ping\ndata: {"type":"ping"}\n\n',
    last: { type: 'message_stop' },
    messages: [
      '{"type":"message_start"}',
      '{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}',
    ],
  },
  {
    name: 'agUi',
    format: agUi,
    items: [
      { type: 'RUN_STARTED', threadId: 't', runId: 'r' },
      { type: 'TEXT_MESSAGE_CONTENT', delta: 'Hi\n' },
    ],
    sent: [
      'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n',
      'data: {"type":"TEXT_MESSAGE_CONTENT","delta":"Hi\\n"}\n\n',
    ],
    done: '',
    refused: 'data: {"type":"RUN_ERROR","message":"Slow down","code":"too_fast"}\n\n',
    failed: 'data: {"type":"RUN_ERROR","message":"Internal server error","code":"500"}\n\n',
    closed: 'data: {"type":"RUN_ERROR","message":"The server closed the stream","code":"server-closed"}\n\n',
    heartbeat: ':\n',
    last: { type: 'RUN_FINISHED' },
    messages: [
      '{"type":"RUN_STARTED","threadId":"t","runId":"r"}',
      '{"type":"RUN_ERROR","message":"Slow down","code":"too_fast"}',
    ],
  },
];

const slowDown = () => new HttpException({ statusCode: 429, message: 'Slow down', code: 'too_fast' }, 429);

/** Whether a client has received a body that is complete, and not cut off. */
function isWhole({ head, body, complete }: RawClient): boolean {
  const [, length] = /content-length: (\d+)/i.exec(head) ?? [];
  return length === undefined ? complete : body.length === Number(length);
}

/** A controller whose route `/answer` streams what a function returns. */
function answering(produce: () => unknown, options: StreamOptions): Type {
  @Controller()
  class Answers {
    @Stream('answer', options)
    answer(): unknown {
      return produce();
    }
  }
  return Answers;
}

describe.each(PLATFORMS)('%s:', (platform) => {
  describe.each(PROTOCOLS)('the format $name', ({ format, items, sent, done, ...protocol }) => {
    const [first] = items;
    const post = async (produce: () => unknown, options: StreamOptions = {}) => {
      const route = { method: RequestMethod.POST, format, ...options };
      const app = await start(platform, { controllers: [answering(produce, route)], options: { heartbeat: BEAT_MS } });
      const client = await app.get('/answer', { 'Content-Length': '0', Connection: 'close' }, 'POST');
      return { ...app, client };
    };

    it('answers a POST with 200, its headers, its items and its end', async () => {
      const { client } = await post(() => items);

      await client.closed();

      expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(client.head.toLowerCase()).toContain('\r\ncontent-type: text/event-stream\r\n');
      expect(client.head.toLowerCase().includes('x-vercel-ai-ui-message-stream: v1\r\n')).toBe(format === uiMessages);
      expect(client.body).toBe(sent.join('') + done);
      expect(isWhole(client)).toBe(true);
    });

    it('sends the data of events, and neither their id nor their type', async () => {
      const looksLikeEvent = { ...first, id: 7, data: 'x' };
      const { client } = await post(() => [event({ id: '1', type: 'x', retry: 5, data: first }), looksLikeEvent]);

      await client.closed();

      expect(client.body.startsWith(sent[0])).toBe(true);
      expect(client.body).toContain('"id":7,"data":"x"');
      expect(client.body).not.toMatch(/^(?:id|retry):/m);
    });

    it.each([
      ['an exception', slowDown, protocol.refused],
      ['an unknown error', () => new Error('a secret'), protocol.failed],
    ])('ends cleanly after the record of %s', async (_what, error, record) => {
      const { client } = await post(function* () {
        yield first;
        throw error();
      });

      await client.closed();

      expect(client.body).toBe(sent[0] + record);
      expect(isWhole(client)).toBe(true);
    });

    it('says that the answer is not complete if the server closes the stream', async () => {
      const { client, registry } = await post(async function* () {
        yield first;
        await new Promise(() => undefined);
      });
      await client.until(sent[0]);

      await registry.close();
      await client.closed();

      expect(client.body).toBe(sent[0] + protocol.closed);
      expect(isWhole(client)).toBe(true);
    });

    it('adds nothing to the last event of the handler, if the handler then fails', async () => {
      const { last } = protocol;
      const { client, logs } = await post(function* () {
        yield first;
        if (last) {
          yield last;
        }
        throw slowDown();
      });

      await client.closed();

      expect(client.body.endsWith(last ? done || ':\n' : protocol.refused)).toBe(true);
      expect(client.body.includes('Slow down')).toBe(!last);
      expect(isWhole(client)).toBe(true);
      expect(logs.of('error').join()).toContain('Slow down');
    });

    it('sends heartbeats that its clients ignore', async () => {
      const end = deferred();
      const { app, client } = await post(async function* () {
        yield first;
        await end.promise;
      });
      const clock = useFakeClock(app);
      await client.until(sent[0]);

      await clock.advance(BEAT_MS);
      await client.until(`\r\n${protocol.heartbeat.length.toString(16)}\r\n${protocol.heartbeat}\r\n`);
      clock.restore();
      end.resolve();
      await client.closed();

      expect(client.body).toBe(sent[0] + protocol.heartbeat + done);
    });

    it('sends one message for each item over WebSocket, and its error as the last one', async () => {
      const { url } = await start(platform, {
        controllers: [
          answering(
            function* () {
              yield first;
              throw slowDown();
            },
            { format },
          ),
        ],
        options: { websocket: true },
      });
      const client = await WebSocketClient.open(url('/answer'));

      expect(await client.closed).toMatchObject({ code: 1000 });
      expect(client.messages.seen).toEqual(protocol.messages);
    });

    it('sends compressed items as they come', async () => {
      const end = deferred();
      const { url } = await start(platform, {
        controllers: [
          answering(
            async function* () {
              yield first;
              await end.promise;
              yield items[1];
            },
            { method: RequestMethod.POST, format, compression: { encodings: ['gzip'], threshold: 0 } },
          ),
        ],
      });
      const response = await fetch(url('/answer'), { method: 'POST', headers: { 'Accept-Encoding': 'gzip' } });
      const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      const read = async () => {
        const { value = '', done: over } = await reader.read();
        text += value;
        return !over;
      };

      while (!text.includes(sent[0])) {
        await read();
      }
      end.resolve();
      while (await read());

      expect(response.headers.get('content-encoding')).toBe('gzip');
      expect(text).toBe(sent.join('') + done);
    });
  });
});
