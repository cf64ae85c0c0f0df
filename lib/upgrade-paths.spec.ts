import { pathMatcher, pathOf } from './upgrade-paths.js';

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
    ['/a\\:b', '/a:b'],
    ['/a+b', '/a+b'],
    ['/v1.0/x', '/v1.0/x'],
    ['/café', '/caf%C3%A9'],
  ])('%s may be %s', (path, asked) => {
    expect(pathMatcher(['/other', path])(asked)).toBe(true);
  });

  it.each([
    ['/feed', '/feeds'],
    ['/feed', '/a/feed'],
    ['/feed', '/feed/a'],
    ['/', '/feed'],
    ['/feed/:id', '/feed/a/b'],
    ['/v1.0/x', '/v1a0/x'],
    ['/a+b', '/aab'],
    ['/feed', '/%E0%A4%A'],
  ])('%s is not %s', (path, asked) => {
    expect(pathMatcher([path])(asked)).toBe(false);
  });

  it('are none without routes', () => {
    expect(pathMatcher([])('')).toBe(false);
  });

  it.each([
    ['/a/b?c=/d', '/a/b'],
    ['/a#b', '/a'],
    ['http://host:80/a?b', '/a'],
    ['//host/a', '//host/a'],
    [undefined, ''],
  ])('are taken from the target %s', (target, path) => {
    expect(pathOf(target)).toBe(path);
  });
});
