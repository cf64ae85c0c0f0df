import { Controller } from '@nestjs/common';
import { ConnectedStream, Stream, type StreamConnection } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, turns, useApps } from '../support/running.js';
import { HANDSHAKE, maskedFrame } from '../support/websocket-frames.js';

// Cases of RFC 6455 in the order in which the Autobahn test suite numbers its sections, in our own words.

const launch = useApps();
const MAX_PAYLOAD = 1_048_576;
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10] as const;
const MASK = Buffer.from([0x12, 0xf3, 0x00, 0xaa]);

type Payload = string | Buffer;

/** A frame of the client. */
const frame = (opcode: number, payload: Payload = '', fin = true): Buffer =>
  maskedFrame({ opcode, payload, fin, mask: MASK });
/** A frame of the server. */
const answer = (opcode: number, payload: Payload = ''): Buffer => maskedFrame({ opcode, payload, mask: false });
const status = (code: number, reason: Payload = ''): Buffer =>
  Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason as string)]);
const closing = (code: number): Buffer => answer(CLOSE, status(code));
const bytes = (...values: number[]): Buffer => Buffer.from(values);

@Controller()
class Echo {
  @Stream('echo', { openDelay: 0 })
  async *echo(@ConnectedStream() stream: StreamConnection) {
    for await (const message of stream.messages) yield message;
  }
}

describe.each(PLATFORMS)('%s: a WebSocket that echoes what it receives', (platform) => {
  const open = async (): Promise<RawClient> => {
    const app: RunningApp = await launch(platform, {
      controllers: [Echo],
      options: { websocket: { maxPayload: MAX_PAYLOAD, maxFragments: 1_024 } },
    });
    const client = await app.get('/echo', HANDSHAKE);
    await client.until('\r\n\r\n');
    return client;
  };

  const send = async (client: RawClient, sent: readonly Buffer[], chop: number): Promise<void> => {
    client.socket.setNoDelay();
    const all = Buffer.concat(sent);
    for (let at = 0; at < all.length; at += chop) {
      client.socket.write(all.subarray(at, at + chop));
      if (chop < all.length) {
        await turns(1);
      }
    }
  };

  /** Sends frames, and expects exactly the given answers. If the last answer is a close, the server closes the connection. */
  const expectAnswer = async (sent: readonly Buffer[], expected: readonly Buffer[], chop = Infinity): Promise<void> => {
    const client = await open();
    const wanted = Buffer.concat(expected).toString('latin1');
    await send(client, sent, chop);
    while (client.received.length < client.head.length + wanted.length && !client.socket.destroyed) {
      await turns(1);
    }
    expect(client.received.slice(client.head.length)).toBe(wanted);
  };

  const echoes = (opcode: number, payload: Payload, chop?: number) =>
    expectAnswer([frame(opcode, payload)], [answer(opcode, payload)], chop);

  describe.each([
    ['text', TEXT],
    ['binary', BINARY],
  ])('1: sends back a %s message', (_what, opcode) => {
    it.each([0, 1, 125, 126, 127, 128, 65_535, 65_536])('of %i bytes', async (size) => {
      await echoes(opcode, 'x'.repeat(size));
    });

    it.each([1, 997])('of 300 bytes that arrives in pieces of %i', async (chop) => {
      await echoes(opcode, 'x'.repeat(300), chop);
    });
  });

  it.each<[string, Buffer[], Buffer[]]>([
    ['a ping without a payload', [frame(PING)], [answer(PONG)]],
    ['a ping with text', [frame(PING, 'hello')], [answer(PONG, 'hello')]],
    ['a ping with bytes', [frame(PING, bytes(0, 255, 254, 128))], [answer(PONG, bytes(0, 255, 254, 128))]],
    ['a ping of 125 bytes', [frame(PING, 'x'.repeat(125))], [answer(PONG, 'x'.repeat(125))]],
    ['a ping of 126 bytes, by closing', [frame(PING, 'x'.repeat(126))], [closing(1002)]],
    ['no unsolicited pong', [frame(PONG, 'x'), frame(PING, 'y')], [answer(PONG, 'y')]],
    ['several pings', [1, 2, 3].map((i) => frame(PING, `${i}`)), [1, 2, 3].map((i) => answer(PONG, `${i}`))],
  ])('2: answers %s', (_what, sent, expected) => expectAnswer(sent, expected));

  it.each([1, 2, 3, 4, 5, 6, 7])('3: is closed for the reserved bits %i', async (reserved) => {
    for (const opcode of [TEXT, PING]) {
      await expectAnswer([maskedFrame({ opcode, payload: 'x', reserved, mask: MASK })], [closing(1002)]);
    }
  });

  it.each([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])('4: is closed for the reserved opcode %i', (opcode) =>
    expectAnswer([frame(opcode, 'x')], [closing(1002)]),
  );

  it.each<[string, Buffer[], Buffer[]]>([
    ['a message in two fragments', [frame(TEXT, 'a', false), frame(CONTINUATION, 'b')], [answer(TEXT, 'ab')]],
    [
      'a message of empty fragments',
      [frame(BINARY, '', false), frame(CONTINUATION, '', false), frame(CONTINUATION)],
      [answer(BINARY)],
    ],
    [
      'a ping between fragments',
      [frame(TEXT, 'a', false), frame(PING, 'p'), frame(CONTINUATION, 'b')],
      [answer(PONG, 'p'), answer(TEXT, 'ab')],
    ],
    ['a fragmented ping', [frame(PING, 'a', false), frame(CONTINUATION, 'b')], [closing(1002)]],
    ['a fragmented pong', [frame(PONG, 'a', false), frame(CONTINUATION, 'b')], [closing(1002)]],
    ['a continuation of nothing', [frame(CONTINUATION, 'a')], [closing(1002)]],
    ['a first fragment of nothing', [frame(CONTINUATION, 'a', false), frame(TEXT, 'b')], [closing(1002)]],
    ['a message within a message', [frame(TEXT, 'a', false), frame(TEXT, 'b')], [closing(1002)]],
    ['a close between fragments', [frame(TEXT, 'a', false), frame(CLOSE, status(1000))], [closing(1000)]],
  ])('5: answers %s as RFC 6455 requires', (_what, sent, expected) => expectAnswer(sent, expected));

  it.each([
    ['ASCII', 'Hello-µ@ßöäüàá-UTF-8!!'],
    ['Greek', 'κόσμε'],
    ['the largest code point', '\u{10ffff}'],
    ['noncharacters', '\ufffe\uffff\u{1fffe}'],
    ['NUL', '\0a\0'],
    ['a byte order mark', '\ufeffa'],
  ])('6: sends back %s, in one piece and byte by byte in fragments', async (_what, text) => {
    const all = Buffer.from(text);
    const fragments = [...all].map((byte, at) =>
      frame(at === 0 ? TEXT : CONTINUATION, bytes(byte), at === all.length - 1),
    );

    await echoes(TEXT, text);
    await expectAnswer(fragments, [answer(TEXT, text)]);
  });

  it.each([
    ['a continuation byte alone', [0x80]],
    ['a sequence that is cut off', [0xce]],
    ['a sequence that is interrupted', [0xce, 0x61]],
    ['an overlong form', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['what is above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['bytes that UTF-8 never has', [0xfe, 0xff]],
  ])('6: is closed for text with %s, at the latest with its last fragment', async (_what, wrong) => {
    const text = Buffer.concat([Buffer.from('κό'), bytes(...wrong)]);

    await expectAnswer([frame(TEXT, text)], [closing(1007)]);
    await expectAnswer([frame(TEXT, text, false), frame(CONTINUATION, '')], [closing(1007)]);
    await echoes(BINARY, text);
  });

  describe('7: a close', () => {
    it.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])(
      'of %i is answered with the same',
      (code) => expectAnswer([frame(CLOSE, status(code, 'why'))], [answer(CLOSE, status(code, 'why'))]),
    );

    it.each([0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])(
      'of %i is answered as a violation of the protocol',
      (code) => expectAnswer([frame(CLOSE, status(code))], [closing(1002)]),
    );

    it.each<[string, Buffer, Buffer]>([
      ['without a code is answered without one', frame(CLOSE), answer(CLOSE)],
      ['of one byte is a fault', frame(CLOSE, 'x'), closing(1002)],
      [
        'with a reason of 123 bytes is answered',
        frame(CLOSE, status(1000, 'x'.repeat(123))),
        answer(CLOSE, status(1000, 'x'.repeat(123))),
      ],
      ['with a reason of 124 bytes is a fault', frame(CLOSE, status(1000, 'x'.repeat(124))), closing(1002)],
      ['with a reason that is no UTF-8 is a fault', frame(CLOSE, status(1000, bytes(0xce))), closing(1007)],
    ])('%s', (_what, sent, expected) => expectAnswer([sent], [expected]));

    // RFC 6455 §5.5.1 allows a server to answer the message first. ws answers a close when it is read, before a handler continues.
    it('that follows a message in the same write is answered at once, and the message is not sent back', () =>
      expectAnswer([frame(TEXT, 'x'), frame(CLOSE, status(1000))], [closing(1000)]));

    it('is the last frame that is read', () =>
      expectAnswer([frame(CLOSE, status(1000)), frame(TEXT, 'x'), frame(PING), frame(CLOSE)], [closing(1000)]));
  });

  it.each([262_144, MAX_PAYLOAD])(
    '9: sends back a message of %i bytes, in one frame and in fragments',
    async (size) => {
      const payload = Buffer.alloc(size, 'abcdefg');
      const parts = Array.from({ length: size / 4_096 }, (_, i) => payload.subarray(i * 4_096, (i + 1) * 4_096));
      const fragments = parts.map((part, i) => frame(i === 0 ? BINARY : CONTINUATION, part, i === parts.length - 1));

      await echoes(BINARY, payload);
      await echoes(TEXT, payload);
      await expectAnswer(fragments, [answer(BINARY, payload)], 65_536);
    },
  );

  it('9: is closed for a message that is larger than maxPayload', () =>
    expectAnswer([frame(TEXT, 'x'.repeat(MAX_PAYLOAD + 1))], [closing(1009)]));

  it.each([TEXT, PING, CLOSE])('10: is closed for a frame of opcode %i without a mask', (opcode) =>
    expectAnswer([maskedFrame({ opcode, mask: false })], [closing(1002)]),
  );
});
