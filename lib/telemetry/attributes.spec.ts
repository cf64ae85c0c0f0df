import { attributesBy, errorType } from './attributes.js';

const attributesOf = attributesBy(new Map([['Feed.prices', '/prices/:symbol']]));

describe('the attributes of a stream', () => {
  it.each([
    ['http/1.1', { 'network.protocol.name': 'http', 'network.protocol.version': '1.1' }],
    ['http/2', { 'network.protocol.name': 'http', 'network.protocol.version': '2' }],
    ['websocket', { 'network.protocol.name': 'websocket' }],
  ] as const)('name the protocol %s as the semantic conventions require', (protocol, expected) => {
    expect(attributesOf({ route: 'Feed.prices', format: 'sse', protocol })).toEqual({
      'nestjs_streaming.route': 'Feed.prices',
      'nestjs_streaming.format': 'sse',
      'http.route': '/prices/:symbol',
      ...expected,
    });
  });

  it('leave out a path that is unknown and a format that is undecided', () => {
    expect(attributesOf({ route: 'Feed.other', format: undefined, protocol: 'websocket' })).toEqual({
      'nestjs_streaming.route': 'Feed.other',
      'network.protocol.name': 'websocket',
    });
  });

  it('may be changed by who receives them, which changes those of no other stream', () => {
    const stream = { route: 'Feed.prices', format: 'text', protocol: 'http/2' } as const;
    const expected = { ...attributesOf(stream) };
    for (let n = 0; n < 3; n++) {
      const attributes = attributesOf(stream);
      expect(attributes).toEqual(expected);
      attributes['http.route'] = '/prices';
    }
    expect(attributesOf({ ...stream, format: 'ndjson' })).toMatchObject({ 'nestjs_streaming.format': 'ndjson' });
  });
});

describe('the type of an error', () => {
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();

  class OrderRefused extends Error {}

  it.each([
    ['the name of its class', new OrderRefused('no'), 'OrderRefused'],
    ['_OTHER where its class has no name', new (class extends Error {})(), '_OTHER'],
    ['_OTHER for what is no error', 'order 17 was refused', '_OTHER'],
    ['_OTHER for what cannot be described', revoked.proxy, '_OTHER'],
  ])('is %s', (_what, error, type) => {
    expect(errorType(error)).toEqual({ 'error.type': type });
  });
});
