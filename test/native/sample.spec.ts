import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TOKENS_ADDON, type TokensAddon } from '../../sample/native/tokens.controller.js';
import { TokensModule } from '../../sample/native/tokens.module.js';
import { blockNamed, ROOT } from '../support/documentation.js';
import { buildAddon, NODE_GYP_TOOLS, nodeGypTools } from '../support/node-gyp.js';
import { describeWith } from '../support/tools.js';
import { BUILD_MS } from './producers.js';

describeWith(NODE_GYP_TOOLS, nodeGypTools())('The sample of an addon', () => {
  let addon: TokensAddon;
  let app: INestApplication;
  let url: string;

  beforeAll(async () => {
    addon = createRequire(import.meta.url)(await buildAddon('sample/native', 'tokens')) as TokensAddon;
    const built = Test.createTestingModule({ imports: [TokensModule] });
    const testing = await built.overrideProvider(TOKENS_ADDON).useValue(addon).compile();
    app = testing.createNestApplication();
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  }, BUILD_MS);

  afterAll(() => app?.close());

  it('streams tokens of a thread as events, and as text', async () => {
    const events = await fetch(`${url}/tokens/3`, { headers: { accept: 'text/event-stream' } });
    const text = await fetch(`${url}/tokens/3`, { headers: { accept: 'text/plain' } });

    expect(await events.text()).toBe('data: token 1\n\ndata: token 2\n\ndata: token 3\n\n');
    expect(await text.text()).toBe('token 1token 2token 3');
  });

  it('throws for arguments that are not valid', () => {
    expect(() => addon.tokens('three' as unknown as number, 1)).toThrow('tokens(count: number, ms: number)');
  });
});

describe('The guide to addons', () => {
  it.each([
    ['native/tokens.cc', 'sample/native/tokens.cc'],
    ['native/binding.gyp', 'sample/native/binding.gyp'],
  ])('has the file %s of the sample', (name, path) => {
    expect(blockNamed('docs/native.md', name).text).toBe(readFileSync(join(ROOT, path), 'utf8'));
  });
});
