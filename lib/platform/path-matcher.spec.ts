import { pathMatcher, pathOf } from './path-matcher.js';

describe('The paths of WebSockets', () => {
  it.each([
    ['/feed', '/feed'],
    ['/feed', '/feed/'],
    ['/feed', '/FEED'],
    ['/feed/', '/feed'],
    ['/', '/'],
    ['/', ''],
    ['/feed/:id', '/feed/7'],
    ['/feed/:id', '/feed/a%2Fb'],
    ['/feed/:id.:ext', '/feed/a.b'],
    ['/feed/:id-:other', '/feed/a-b'],
    ['/feed/:"an id"', '/feed/7'],
    ['/feed/:id(\\d+)', '/feed/7'],
    ['/feed/*rest', '/feed/a/b'],
    ['/feed/*', '/feed/a/b'],
    ['/feed/(.*)', '/feed/a/b'],
    ['/feed{/:id}', '/feed'],
    ['/feed{/:id}', '/feed/7'],
    ['/feed{/:id}', '/feed/'],
    ['/feed/:id?', '/feed'],
    ['/feed/:id?', '/feed/7'],
    ['/feed/:id{.:ext}', '/feed/7.json'],
    ['/:id{/more}', '/7/more'],
    ['/a{b}c', '/ac'],
    ['/*rest', '/a'],
    ['/feed/*a/b', '/feed/x/y/b'],
    ['/a\\{b', '/a{b'],
    ['/a\\:b', '/a:b'],
    ['/a+b', '/a+b'],
    ['/v1.0/x', '/v1.0/x'],
    ['/café', '/caf%C3%A9'],
  ])('of the route %s include %s', (path, asked) => {
    expect(pathMatcher(['/other', path])(asked)).toBe(true);
  });

  it.each([
    ['/feed', '/feeds'],
    ['/feed', '/a/feed'],
    ['/feed', '/feed/a'],
    ['/', '/feed'],
    ['/feed/:id', '/feed/a/b'],
    ['/feed{/:id}', '/feeds'],
    ['/feed/:id?', '/feeds'],
    ['/feed/*rest', '/feeds'],
    ['/feed/*a/b', '/other/x/b'],
    ['/:id/a', '/7/b'],
    ['/v1.0/x', '/v1a0/x'],
    ['/a+b', '/aab'],
    ['/feed', '/%E0%A4%A'],
  ])('of the route %s do not include %s', (path, asked) => {
    expect(pathMatcher([path])(asked)).toBe(false);
  });

  it.each([
    ['/:a-:b-:c', `/${'-'.repeat(16_000)}/x`],
    ['/:a.:b.:c.:d', `/${'.'.repeat(16_000)}/x`],
    ['/:a/:b/:c/:d', `${'/'.repeat(16_000)}x`],
    ['/*a/b/*c/d', '/b'.repeat(8_000)],
    ['/:a{-:b}{-:c}/d', `/${'-'.repeat(16_000)}%0A`],
    ['/feed/:a-:b/*c/x', `/feed/${'-'.repeat(16_000)}`],
  ])('of the route %s are compared in linear time with any requested path', (path, asked) => {
    const isOurs = pathMatcher([path]);
    const before = process.cpuUsage();

    isOurs(asked);

    const { user } = process.cpuUsage(before);
    expect(user).toBeLessThan(100_000);
  });

  it('are none if there are no routes', () => {
    expect(pathMatcher([])('')).toBe(false);
  });

  it.each([
    ['/a/b?c=/d', '/a/b'],
    ['/a#b', '/a'],
    ['http://host:80/a?b', '/a'],
    ['//host/a', '//host/a'],
    [undefined, ''],
  ])('are the paths of request targets such as %s', (target, path) => {
    expect(pathOf(target)).toBe(path);
  });
});
