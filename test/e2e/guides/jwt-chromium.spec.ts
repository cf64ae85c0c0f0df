import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext } from 'playwright-core';
import { PLATFORMS } from '../../support/app.js';
import { launchChromium } from '../../support/chromium.js';
import { clientModule } from '../../support/client-module.js';
import { type RunningBlock, start } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';
import { itWith, toolPath } from '../../support/tools.js';

const GUIDE = 'docs/jwt.md';

/** Serves the page of the guide, and the client, from another origin than the API. */
function serve(port: () => number): Server {
  const { text } = blockNamed(GUIDE, 'public/index.html');
  return createServer(({ url }, response) => {
    if (url === '/client/index.js') {
      response.setHeader('Content-Type', 'text/javascript');
      response.end(clientModule());
      return;
    }
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(text.replaceAll('localhost:3000', `127.0.0.1:${port()}`));
  });
}

describe.each(PLATFORMS)('%s: the guide to JWT, in Chromium', (platform) => {
  let api: RunningBlock;
  let web: Server;
  let browser: BrowserContext;
  let profile: string;

  beforeEach(async () => {
    web = serve(() => api.port);
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    process.env.WEB_ORIGIN = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    api = await start(blockNamed(GUIDE, 'src/main.ts'), platform);
    profile = await mkdtemp(join(tmpdir(), 'jwt-chromium-'));
    browser = await launchChromium(toolPath('chromium') ?? '', profile);
  });

  afterEach(async () => {
    await browser.close();
    await api.close();
    await new Promise((resolve) => web.close(resolve));
    delete process.env.WEB_ORIGIN;
    await rm(profile, { recursive: true, force: true });
  });

  itWith('chromium')('a page of another origin logs in, and its stream has the cookie', async () => {
    const page = await browser.newPage();
    await page.goto(`${process.env.WEB_ORIGIN}/`);
    const form = page.locator('#login');
    await form.locator('[name=name]').fill('ada');
    await form.locator('[name=password]').fill('secret');
    await form.locator('button').click();
    await form.waitFor({ state: 'hidden' });

    await page.evaluate(
      ({ url }) =>
        fetch(url, {
          method: 'POST',
          credentials: 'include',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ to: 'ada', text: 'hello' }),
        }),
      { url: `http://127.0.0.1:${api.port}/inbox` },
    );
    await page.getByText('hello').waitFor();
  });
});
