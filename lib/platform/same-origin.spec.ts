import { isSameOrigin } from './same-origin.js';

const HOST = 'a.test';

describe('A request', () => {
  it.each<
    [what: string, expected: boolean, headers: Record<string, string>, protocol?: string, host?: string | undefined]
  >([
    ['without an Origin', true, {}],
    ['of its own host', true, { origin: 'http://a.test' }],
    [
      'of its own host, with the port that goes without saying',
      true,
      { origin: 'https://a.test' },
      'https',
      'a.test:443',
    ],
    ['of another port', false, { origin: 'http://a.test:1' }],
    ['of a host that begins alike', false, { origin: 'http://a.test.evil.test' }],
    ['of a page over TLS, which may end at a proxy', true, { origin: 'https://a.test' }, 'http'],
    ['over TLS, of a page over TLS', true, { origin: 'https://a.test' }, 'https'],
    ['over TLS, of a page that can be forged', false, { origin: 'http://a.test' }, 'https'],
    ['over TLS as a proxy names it, of a page that can be forged', false, { origin: 'http://a.test' }, 'wss'],
    ['of a sandboxed page', false, { origin: 'null' }],
    ['of nonsense', false, { origin: 'a.test' }],
    ['of an origin without a host', false, { origin: 'file://' }],
    ['to no host', false, { origin: 'http://a.test' }, 'http', ' '],
    ['of HTTP/2', true, { origin: 'http://a.test', ':authority': 'a.test' }, 'http', undefined],
    ['of which the browser says that it is of the same origin', true, { 'sec-fetch-site': 'same-origin' }],
    ['that the user made', true, { 'sec-fetch-site': 'none' }],
    ['of another origin, without an Origin', false, { 'sec-fetch-site': 'same-site' }],
    ['of another site, without an Origin', false, { 'sec-fetch-site': 'cross-site' }],
    ['of an extension', false, { 'sec-fetch-site': 'none', origin: 'chrome-extension://abc' }],
  ])('%s is of the same origin: %s', (_what, expected, headers, protocol = 'http', ...[host = HOST]) => {
    const given = ':authority' in headers ? undefined : host;

    expect(isSameOrigin({ headers, protocol, host: given })).toBe(expected);
  });
});
