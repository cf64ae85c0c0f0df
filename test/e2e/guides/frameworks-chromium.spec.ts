import type { Page } from 'playwright-core';
import { PLATFORMS } from '../../support/app.js';
import { BrowserPage } from '../../support/browser-page.js';
import { bundledPage } from '../../support/bundled-page.js';
import { type RunningBlock, start } from '../../support/document-app.js';
import { blockNamed, blocks } from '../../support/documentation.js';
import { TcpProxy } from '../../support/tcp-proxy.js';
import { describeWith } from '../../support/tools.js';

import.meta.jest.setTimeout(60_000);

/** What a bundler is given for the page of each guide. Angular compiles its templates in the browser, as without its command line. */
const PAGES = [
  { name: 'React', guide: 'docs/react.md', entry: "import './web/main.js';" },
  { name: 'Vue', guide: 'docs/vue.md', entry: "import './web/main.js';" },
  {
    name: 'Angular without zone.js',
    guide: 'docs/angular.md',
    entry: "import '@angular/compiler'; import './web/main.js';",
    root: '<app-root></app-root>',
  },
  {
    name: 'Angular with zone.js',
    guide: 'docs/angular.md',
    entry: "import '@angular/compiler'; import './web/main-with-zone.js';",
    root: '<app-root></app-root>',
  },
];

describeWith('chromium')('the page of a guide', () => {
  describe.each(PAGES)('to $name', ({ guide, entry, root }) => {
    let html: string;

    beforeAll(async () => {
      const files = blocks.filter(({ file, name }) => file === guide && name?.startsWith('web/'));
      html = await bundledPage(entry, { files, root });
    });

    describe.each(PLATFORMS)('on %s', (platform) => {
      let app: RunningBlock;
      let proxy: TcpProxy;
      let browser: BrowserPage;
      let page: Page;
      let errors: string[];

      beforeEach(async () => {
        errors = [];
        app = await start(blockNamed(guide, 'src/app.module.ts'), platform);
        proxy = await TcpProxy.start(app.port);
        await write('before');
        browser = await BrowserPage.open(`http://127.0.0.1:${proxy.port}`, html);
        page = browser.page;
        page.on('pageerror', ({ message }) => errors.push(message));
        await shown(/^before$/);
      });

      afterEach(async () => {
        await browser.close();
        await proxy.stop();
        await app.close();
        expect(errors).toEqual([]);
      });

      const write = (text: string) =>
        fetch(`http://127.0.0.1:${app.port}/board`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ text }),
        });
      const shown = (text: RegExp) => page.locator('li', { hasText: text }).waitFor();
      const messages = () => page.locator('li').allTextContents();
      const button = (name: string) => page.getByRole('button', { name });

      it('shows the messages that it has missed while its connection was cut, and each once', async () => {
        proxy.cut();
        await write('missed');
        await write('after');
        await shown(/^after$/);
        expect(await messages()).toEqual(['before', 'missed', 'after']);
      });

      it('begins the board again if the server has lost its messages', async () => {
        await app.restart();
        await write('new');
        proxy.target = app.port;
        proxy.cut();
        await shown(/^new$/);
        expect(await messages()).toEqual(['new']);
      });

      it('shows the tokens of an answer, and its button stops the model', async () => {
        await button('Ask').click();
        await page.locator('form p', { hasText: 'la la la' }).waitFor();
        await button('Stop').click();
        expect(await app.printed.count(1)).toEqual(['the model was stopped']);
        await button('Stop').waitFor({ state: 'hidden' });
        expect(await page.locator('form p').textContent()).toContain('la la la');
      });

      it('shows why an answer was refused, and can ask again', async () => {
        const refuse = (status: number, message: string) => ({
          status,
          contentType: 'application/json',
          body: JSON.stringify({ statusCode: status, message }),
        });
        await page.route('**/answers', (route) => route.fulfill(refuse(403, 'Not you')), { times: 1 });
        await button('Ask').click();
        await page
          .getByRole('alert')
          .filter({ hasText: /403.*Not you/ })
          .waitFor();
        await button('Ask').click();
        await page.locator('form p', { hasText: 'la la la' }).waitFor();
        expect(await page.getByRole('alert').count()).toBe(0);
      });
    });
  });
});
